"""Which examples a supervised step learns from, and how they reach it."""

import threading

import pytest

from groundrl.algorithms.settings import SFTSettings
from groundrl.algorithms.sft_batches import AHEAD, LoadedAhead, StepSampler, micro_batches
from groundrl.rollout.forward.sequence_packing import joined_length
from groundrl.rollout.model.loader import Loader


class TestStepSampler:
    def test_an_epoch_visits_each_example_once(self):
        batches = list(StepSampler(range(6), SFTSettings(steps=6, batch_size=2), rank=0, world_size=1))
        epochs = [[index for batch in batches[start : start + 3] for index in batch] for start in (0, 3)]
        assert [sorted(epoch) for epoch in epochs] == [list(range(6))] * 2
        assert epochs[0] != epochs[1]

    def test_it_goes_on_where_it_stood(self):
        settings = SFTSettings(steps=7, batch_size=3)
        straight, resumed = (StepSampler(range(5), settings, rank=0, world_size=1, step=step) for step in (0, 4))
        assert list(resumed) == list(straight)[4:]
        assert len(resumed) == 3

    def test_ranks_share_each_batch_out(self):
        settings = SFTSettings(steps=3, batch_size=4, seed=5)
        whole = list(StepSampler(range(9), settings, rank=0, world_size=1))
        ranks = [list(StepSampler(range(9), settings, rank=rank, world_size=2)) for rank in range(2)]
        assert [sorted([*a, *b]) for a, b in zip(*ranks, strict=True)] == [sorted(batch) for batch in whole]

    def test_a_batch_must_divide_among_ranks(self):
        with pytest.raises(ValueError, match="batch_size 3 is not divisible by 2"):
            StepSampler(range(9), SFTSettings(steps=1, batch_size=3), rank=0, world_size=2)


class TestLoadedAhead:
    def test_batches_come_in_order_and_ahead_of_whoever_asks(self):
        asked, wanted = [], threading.Event()

        def load(item):
            asked.append(item)
            if len(asked) == AHEAD + 1:
                wanted.set()
            return item

        batches = LoadedAhead([[1], [2], [3], [4], [5]], load, count=5)
        found = iter(batches)
        assert next(found) == [1]
        assert wanted.wait(5), "nobody has asked for the second, and it is loaded"
        assert [*found] == [[2], [3], [4], [5]]
        assert len(batches) == 5
        assert batches.since_asked() > 0
        assert batches.since_asked() == 0

    def test_a_fault_comes_out_in_its_place(self):
        def load(item):
            if item == [2]:
                raise ValueError("a faulty example")
            return item

        found = iter(LoadedAhead([[1], [2], [3]], load, count=3))
        assert next(found) == [1]
        with pytest.raises(ValueError, match="a faulty example"):
            next(found)

    def test_who_stops_asking_leaves_no_thread(self):
        found = iter(LoadedAhead([[k] for k in range(9)], lambda item: item, count=9))
        next(found)
        found.close()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def test_samples_share_rows_up_to_the_tokens_asked_for(text_policy, text_examples):
    loader = Loader(text_policy, text_examples, answers=True)
    lengths = [joined_length(loader[k][1], text_policy.encode_answer(text_examples[k].answer)) for k in range(3)]
    settings = SFTSettings(steps=1, pack_tokens=sum(lengths) - 1)
    rows = micro_batches(loader, [0, 1, 2], settings)
    assert [len(row.input_ids) for row in rows] == [1, 1]
    assert sorted(len(row.completion_ids) for row in rows) == [1, 2]
    assert sum(row.input_ids.shape[1] for row in rows) == sum(lengths), "and nothing is padded"
