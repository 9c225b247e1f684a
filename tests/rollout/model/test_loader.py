"""Examples in order; what is faulty stops the run or is skipped and listed."""

import pytest

from groundrl.rewards import DataError, Example
from groundrl.rollout.io.order import ShuffledOrder
from groundrl.rollout.model.loader import Loader

GOOD = [Example(id=f"g{k}", prompt="yes?", answer="yes") for k in range(2)]
LONG = Example(id="long", prompt="1" * 500, answer="no")


def test_a_fault_stops_the_run(text_policy):
    with pytest.raises(DataError, match="example 'long'"):
        Loader(text_policy, [GOOD[0], LONG])[1]


def test_a_fault_is_skipped_and_listed(text_policy):
    loader = Loader(text_policy, [GOOD[0], LONG, GOOD[1]], on_error="skip")
    assert [loader[index][0].id for index in (0, 1, 2)] == ["g0", "g1", "g1"]
    assert list(loader.skipped) == [1]
    assert "exceed the model's context" in loader.skipped[1]


def test_the_last_one_goes_on_at_the_first(text_policy):
    assert Loader(text_policy, [GOOD[0], LONG], on_error="skip")[1][0].id == "g0"


def test_data_of_which_nothing_can_be_used_stops_with_the_first_reason(text_policy):
    with pytest.raises(ValueError, match="none of the 2 examples can be used; the first fault: example 'long'"):
        Loader(text_policy, [LONG, LONG], on_error="skip")[0]


def test_an_empty_data_set_is_refused(text_policy):
    with pytest.raises(ValueError, match="the data set has no examples"):
        Loader(text_policy, [])


def test_room_for_the_answer_is_checked(text_policy):
    prompt = "1" * 100
    assert Loader(text_policy, [Example(id="e", prompt=prompt)], reserve=10)[0][0].id == "e"
    with pytest.raises(DataError, match="40 for the answer"):
        Loader(text_policy, [Example(id="e", prompt=prompt)], reserve=40)[0]
    with pytest.raises(DataError, match="41 for the answer"):  # the end token needs room too
        Loader(text_policy, [Example(id="e", prompt=prompt, answer="1" * 40)], answers=True)[0]
    with pytest.raises(DataError, match="'e' has no `answer`"):
        Loader(text_policy, [Example(id="e", prompt=prompt)], answers=True)[0]


def test_every_epoch_is_its_own_permutation_and_a_function_of_the_position():
    order = ShuffledOrder(7, seed=3)
    epochs = [[order[7 * epoch + index] for index in range(7)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert ShuffledOrder(7, seed=3)[24] == epochs[3][3]
    assert [ShuffledOrder(7, seed=4)[k] for k in range(7)] != epochs[0]
