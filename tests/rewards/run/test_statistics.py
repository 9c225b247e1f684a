"""Mean, spread and share of the advantage variance, by hand."""

import math

import pytest

from groundrl.rewards import (
    Completion,
    Example,
    Format,
    Group,
    LabelAccuracy,
    Score,
    part_statistics,
)

REWARD = 2.0 * LabelAccuracy().named("a") + 1.0 * Format().named("b")


def group(*rows):
    """Scores with parts a and b; None stands for a part that abstains, a single None for a masked completion."""
    scores = []
    for row in rows:
        if row is None:
            scores.append(Score(value=None, status="error"))
            continue
        a, b = row
        parts = {n: Score(value=v, status="abstain" if v is None else "ok") for n, v in zip("ab", (a, b), strict=True)}
        scores.append(Score(value=2 * (a or 0.0) + (b or 0.0), parts=parts))
    return Group(
        example=Example(id="e", prompt="p"), completions=(Completion(text=""),) * len(rows), scores=tuple(scores)
    )


def test_shares_by_hand():
    # Totals 2a + b: 0, 3, 2, 1; mean 1.5, deviations -1.5 1.5 .5 -.5, sum of squares 5.
    # 2a: 0 2 2 0, deviations -1 1 1 -1: products 1.5 + 1.5 + .5 + .5 = 4.
    # b: 0 1 0 1, deviations -.5 .5 -.5 .5: products .75 + .75 - .25 - .25 = 1.
    found = part_statistics([group((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))], REWARD)
    assert found["a"] == pytest.approx({"mean": 0.5, "std": math.sqrt(1 / 3), "advantage_share": 0.8})
    assert found["b"]["advantage_share"] == pytest.approx(0.2)


def test_what_is_constant_within_each_group_has_no_share():
    # b differs between the groups only.
    found = part_statistics([group((0.0, 0.0), (1.0, 0.0)), group((0.0, 1.0), (1.0, 1.0))], REWARD)
    assert (found["a"]["advantage_share"], found["b"]["advantage_share"]) == (1.0, 0.0)
    assert found["b"]["std"] == pytest.approx(math.sqrt(1 / 3))


def test_masked_completions_and_abstentions_are_left_out():
    found = part_statistics([group((0.0, None), (1.0, None), None, (1.0, 1.0))], REWARD)
    assert found["a"]["mean"] == pytest.approx(2 / 3)
    assert (found["b"]["mean"], found["b"]["std"]) == (1.0, 0.0)
    assert sum(part["advantage_share"] for part in found.values()) == pytest.approx(1.0)


def test_nothing_varies_and_nothing_said():
    found = part_statistics([group((0.1, None), (0.1, None), (0.1, None))], REWARD)
    assert found["a"] == {"mean": pytest.approx(0.1), "std": pytest.approx(0.0), "advantage_share": 0.0}
    assert math.isnan(found["b"]["mean"])
    assert found["b"]["advantage_share"] == 0.0


def test_a_reward_that_is_no_sum_has_one_part():
    scored = group((1.0, 0.0), (0.0, 0.0))
    plain = Group(example=scored.example, completions=scored.completions, scores=(Score(value=0.0), Score(value=1.0)))
    assert part_statistics([plain], Format())["format"] == pytest.approx(
        {"mean": 0.5, "std": math.sqrt(0.5), "advantage_share": 1.0}
    )


def test_a_group_without_scores_is_refused():
    with pytest.raises(ValueError, match="has no scores yet"):
        part_statistics([Group(example=Example(id="e", prompt="p"), completions=())], REWARD)
