"""The reward's share of metrics.jsonl, counted by hand."""

import math

import pytest

from groundrl.algorithms.metrics import Clock, reward_metrics
from groundrl.rewards import Completion, Example, Group, Score, reward


@reward
def anything(completion: Completion, example: Example) -> float:
    return 0.0


def group(*values: float | None, lengths=(2, 2, 2)) -> Group:
    completions = tuple(
        Completion(text="", token_ids=(1,) * length, finish_reason="stop" if length < 3 else "length")
        for _, length in zip(values, lengths, strict=False)
    )
    scores = tuple(Score(value=v, status="error" if v is None else "ok") for v in values)
    return Group(example=Example(id="e", prompt="x"), completions=completions, scores=scores)


def test_counts_by_hand():
    """Values 0, 1, 1 | 1/2 x 3 | 1/4 (its two neighbours failed) | 0, 1, none: nine values of twelve."""
    groups = [
        group(0.0, 1.0, 1.0, lengths=(1, 2, 3)),
        group(0.5, 0.5, 0.5),
        group(0.25, None, None),
        group(0.0, 1.0, None),
    ]
    metrics = reward_metrics(groups, anything)
    values = [0.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.0, 1.0]
    mean = sum(values) / 9
    assert metrics["reward/mean"] == pytest.approx(mean)
    assert metrics["reward/std"] == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / 8))
    assert metrics["groups/informative"] == 2
    assert metrics["groups/zero_variance"] == 1
    assert metrics["groups/dropped"] == 1
    assert metrics["completions/masked"] == 3
    assert metrics["completions/truncated"] == pytest.approx(1 / 12)
    assert metrics["completion_length/mean"] == pytest.approx(24 / 12)


def test_a_step_without_any_score_has_no_mean():
    metrics = reward_metrics([group(None, None)], anything)
    assert math.isnan(metrics["reward/mean"])
    assert metrics["groups/dropped"] == 1


def test_only_timing_fields_depend_on_the_clock():
    clock = Clock()
    clock.lap("sample")
    names = clock.metrics([group(1.0)])
    assert set(names) == {"seconds/sample", "seconds/step", "tokens_per_second"}
    assert all(value > 0 for value in names.values())
