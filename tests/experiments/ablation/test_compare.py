"""Arms against `full`: pairing by seed and example, and sentences that claim no more than the numbers."""

import numpy as np
import pytest

from groundrl.experiments.ablation.compare import compare, limits, mean_of, sentence

BLOCKS = {index: "abcd"[index // 2] for index in range(8)}


def arm(shift: float, seeds: int, *, noise: float = 0.02, key: int = 0) -> dict[int, dict[int, float]]:
    rng = np.random.default_rng(key)
    levels = np.random.default_rng(99).normal(0.5, 0.2, seeds)  # a seed moves all its arms alike
    return {seed: {example: levels[seed] + shift + noise * rng.normal() for example in BLOCKS} for seed in range(seeds)}


def test_differences_are_paired_by_seed_and_example():
    full = {0: {0: 0.5, 1: 0.7, 2: 0.1}, 1: {0: 0.4, 1: 0.4, 2: 0.4}, 2: {0: 1.0}}
    other = {1: {0: 0.6, 1: 0.4, 2: 0.5}, 0: {0: 0.6, 1: 0.8}, 3: {0: 0.0}}
    (found,) = compare({"full": full, "start": full, "other": other}, BLOCKS)
    assert (found.arm, found.seeds) == ("other", (1, 0))
    assert found.differences == pytest.approx((0.1, 0.1))  # seed 1: (0.2 + 0 + 0.1) / 3; seed 0: example 2 has no pair
    assert mean_of("full", full).values == pytest.approx((1.3 / 3, 0.4, 1.0))


def test_pairing_removes_what_a_seed_does_to_all_arms():
    (found,) = compare({"full": arm(0, 8), "better": arm(0.1, 8, key=1)}, BLOCKS)
    assert found.mean == pytest.approx(0.1, abs=0.02)
    assert found.interval[1] - found.interval[0] < 0.05, "the levels of the seeds spread by 0.2"
    assert found.interval[0] < found.mean < found.interval[1]
    assert found.hierarchical[0] < found.mean < found.hierarchical[1]
    assert found.p == found.p_corrected == 2 / 256
    assert sentence(found, "iou_mean", arms=1).endswith("it is better (p = 0.00781, corrected 0.00781).")


def test_holm_counts_the_arms_that_are_compared():
    arms = {"full": arm(0, 8), "start": arm(-0.3, 8)}
    arms |= {f"arm{k}": arm(0.1, 8, key=k) for k in range(1, 7)}
    found = compare(arms, BLOCKS)
    assert [each.arm for each in found] == [f"arm{k}" for k in range(1, 7)]
    assert all(each.p_corrected == 6 * 2 / 256 for each in found)


def test_three_seeds_say_what_they_cannot_show():
    (found,) = compare({"full": arm(0, 3), "worse": arm(-0.1, 3, key=1)}, BLOCKS)
    text = sentence(found, "iou_mean", arms=1)
    assert "no difference is shown (p = 0.25, corrected 0.25; 3 of 3 seeds agree in direction" in text
    assert "3 seeds cannot give a corrected p of 0.05 or less whatever the effect" in text
    assert "too wide to use" in text
    assert limits(3, 1) == (
        "With fewer than 6 seeds no two-sided sign-flip p below .05 exists. With 3 seeds the smallest is 0.25."
    )
    assert "after Holm's correction over 6 arms 0.0469; it takes 8 seeds" in limits(8, 6)


def test_one_seed_and_no_difference_have_sentences():
    (one,) = compare({"full": arm(0, 1), "x": arm(0.1, 1, key=1)}, BLOCKS)
    assert (one.interval, one.dz, one.hierarchical) == (None, None, None)
    assert sentence(one, "iou_mean", arms=1).endswith("in the one seed that was run, which says nothing of another.")
    (same,) = compare({"full": arm(0, 3), "x": arm(0, 3)}, BLOCKS)
    assert same.p == 1
    assert "the same in every seed" in sentence(same, "iou_mean", arms=1)
    assert compare({"full": {}, "x": arm(0, 3)}, BLOCKS) == []
