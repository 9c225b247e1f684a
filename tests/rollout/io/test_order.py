"""Several sources as one: shares, epochs, and a pure function of the position."""

from collections import Counter

import pytest

from groundrl.rewards import Example
from groundrl.rollout.io.order import BLOCK, MixedOrder, Mixture, ShuffledOrder, visiting_order


def mixture(weights=(3.0, 1.0)):
    """Ten examples called 100, 101, ... and four called 200, ..."""
    sources = [[Example(id=str(k), prompt="") for k in numbers] for numbers in (range(100, 110), range(200, 204))]
    return Mixture(sources, list(weights))


def number(example):
    return int(example.id)


def test_examples_stand_one_behind_the_other():
    mixed = mixture()
    assert [number(mixed[k]) for k in range(len(mixed))] == [*range(100, 110), *range(200, 204)]
    with pytest.raises(IndexError):
        mixed[14]
    with pytest.raises(IndexError):
        mixed[-1]


def test_each_source_has_its_share_of_every_block_and_goes_through_its_data():
    mixed = mixture()
    order = visiting_order(mixed, seed=3)
    drawn = [number(mixed[order[position]]) for position in range(3 * BLOCK)]
    for block in range(3):
        first = sum(value < 200 for value in drawn[block * BLOCK : (block + 1) * BLOCK])
        assert abs(first - 0.75 * BLOCK) <= 2
    for low, high, length in ((100, 200, 10), (200, 300, 4)):
        own = [value for value in drawn if low <= value < high]
        epochs = [own[k : k + length] for k in range(0, len(own) - length, length)]
        assert all(len(set(epoch)) == length for epoch in epochs), "an epoch visits each example once"
        assert len({tuple(epoch) for epoch in epochs[:5]}) > 1


def test_any_position_can_be_asked_for_first():
    straight = MixedOrder(mixture(), seed=5)
    found = [straight[position] for position in range(2 * BLOCK + 40)]
    again = MixedOrder(mixture(), seed=5)
    assert again[2 * BLOCK + 39] == found[-1]
    assert [again[position] for position in range(len(found))] == found
    assert [MixedOrder(mixture(), seed=6)[position] for position in range(40)] != found[:40]


def test_a_rare_source_is_drawn_too():
    order = MixedOrder(mixture((0.9998, 0.0002)), seed=0)
    rare = Counter(order[position] >= 10 for position in range(60 * BLOCK))[True]
    assert rare == pytest.approx(60 * BLOCK * 0.0002, rel=0.5)


def test_faults_are_named():
    with pytest.raises(ValueError, match="one weight a source, got 1 and 2"):
        Mixture([[Example(id="a", prompt="")]], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"weights of a mixture are above 0, got 1\.0, 0\.0"):
        mixture((1.0, 0.0))


def test_one_source_alone_is_visited_as_ever():
    order = visiting_order(range(7), seed=2)
    assert [order[k] for k in range(9)] == [ShuffledOrder(7, seed=2)[k] for k in range(9)]
