"""What a reward is: the decorator and each thing that a function may return, names, explanation, fingerprint."""

import asyncio
import pickle

import numpy as np
import pytest

from groundrl.rewards import (
    Completion,
    Example,
    Format,
    Group,
    ImageRef,
    LabelAccuracy,
    Reward,
    RewardError,
    Score,
    SoftF1,
    explain,
    reward,
    score_group,
)


@reward(range=(-1, 2))
def characters(completion, example):
    return len(completion.text) / 10


@reward
async def awaited(completion, example):
    await asyncio.sleep(0)
    return float(completion.text)


EXAMPLE = Example(id="e", prompt="p")


def test_a_function_becomes_a_reward():
    assert (characters.name, characters.range) == ("characters", (-1, 2))
    assert characters.score(Completion(text="abcde"), EXAMPLE) == Score(value=0.5)
    assert characters(Completion(text="abcde"), EXAMPLE) == 0.5


def returns(value):
    @reward
    def fixed(completion, example):
        return value

    return fixed


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.float64(1), np.array(0.5)])
def test_any_number_is_a_value(value):
    score = returns(value).score(Completion(text=""), EXAMPLE)
    assert (score.status, score.value, type(score.value)) == ("ok", float(value), float)


def test_none_abstains():
    assert returns(None).score(Completion(text=""), EXAMPLE) == Score(value=None, status="abstain")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.inf])
def test_nan_and_infinity_are_nonfinite(value):
    score = returns(value).score(Completion(text=""), EXAMPLE)
    assert (score.value, score.status) == (None, "nonfinite")


@pytest.mark.parametrize("value", ["1.0", True, np.True_, [1.0], np.ones(2), {}, Score(value=1.0)])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match=r"reward 'fixed' returned .* return a float, or None to abstain"):
        returns(value).score(Completion(text=""), EXAMPLE)


def test_a_value_outside_the_range_is_refused():
    with pytest.raises(ValueError, match=r"returned 1.5, outside its declared range \(0.0, 1.0\)"):
        returns(1.5).score(Completion(text=""), EXAMPLE)


@pytest.mark.parametrize("bounds", [(1, 0), (0, 0), (0, float("inf")), (float("nan"), 1)])
def test_a_range_must_be_finite_and_ascending(bounds):
    with pytest.raises(ValueError, match="two finite numbers"):
        reward(range=bounds)(lambda completion, example: 0.0)


def test_an_exception_shows_the_completion():
    @reward
    def broken(completion, example):
        return 1 / len(completion.text)

    group = Group(example=EXAMPLE, completions=(Completion(text="fine"), Completion(text="")))
    with pytest.raises(
        RewardError, match=r"reward 'broken' failed on example 'e': ZeroDivisionError.*\n  completion ''"
    ):
        score_group(broken, group)


def test_an_async_function_scores_its_group_even_inside_an_event_loop():
    group = Group(example=EXAMPLE, completions=tuple(Completion(text=f"0.{k}") for k in range(4)))

    async def notebook():
        return score_group(awaited, group)

    for scored in (score_group(awaited, group), asyncio.run(notebook())):
        assert [score.value for score in scored.scores] == [0.0, 0.1, 0.2, 0.3]


def test_a_subclass_is_named_after_its_class_and_keeps_its_range():
    class VeryShort(Reward):
        range = (0.0, 2.0)

        def score(self, completion, example):
            return Score(value=2.0)

    assert (VeryShort().name, VeryShort().range, VeryShort().weights) == ("very_short", (0.0, 2.0), {"very_short": 1.0})
    assert VeryShort().named("mine").name == "mine"


def test_named_leaves_the_original_alone_and_refuses_what_is_no_identifier():
    plain = SoftF1()
    assert (plain.named("box").name, plain.name) == ("box", "soft_f1")
    with pytest.raises(ValueError, match="Python identifier"):
        plain.named("a/b")


def test_a_reward_survives_pickling():
    total = 0.5 * SoftF1().named("box") + 0.5 * characters.named("long") + LabelAccuracy(synonyms={"a": ("b",)})
    again = pickle.loads(pickle.dumps(total))
    assert repr(again) == repr(total)
    assert again.weights == total.weights


def test_the_fingerprint_changes_with_parameters_names_and_source():
    def other(completion, example):
        return 0.25

    def another(completion, example):
        return 0.75

    another.__name__ = "other"
    rewards = [
        SoftF1(),
        SoftF1(match_labels=True),
        SoftF1().named("box"),
        0.5 * SoftF1(),
        reward(other),
        reward(another),
    ]
    assert len({each.fingerprint for each in rewards}) == len(rewards)
    assert SoftF1().fingerprint == SoftF1().fingerprint
    assert len(SoftF1().fingerprint) == 16


def test_explain_shows_parts_boxes_and_reasons_in_a_terminal(example):
    total = 0.6 * SoftF1() + 0.3 * LabelAccuracy() + 0.1 * Format()
    good = str(explain(total, "1 cell <box>[[0, 0, 10, 10]]</box>", example([[0, 0, 10, 10]], label="1 cell")))
    assert "1 predicted, 1 true" in good
    assert [line.split()[:2] for line in good.splitlines()[4:]] == [
        ["total", "1.000"],
        ["soft_f1", "1.000"],
        ["label_accuracy", "1.000"],
        ["format", "1.000"],
    ]
    assert "boxes: truncated" in str(total.explain("1 cell <box>[[0, 0", example([[0, 0, 10, 10]], label="1 cell")))


def test_explain_draws_the_boxes_of_each_image_and_escapes_what_the_model_wrote(example):
    from dataclasses import replace

    images = (ImageRef(source=b"\x89PNG...", width=100, height=50),)
    task = replace(example([[0, 0, 500, 500]], label="<b>"), images=images)
    html = explain(SoftF1(), "<script>alert(1)</script> <box>[[100, 200, 300, 400]]</box>\x1b[31m", task)._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "\x1b" not in html
    assert "data:image/png;base64," in html
    assert 'x="0.00" y="0.00" width="50.00" height="25.00"' in html
    assert 'x="10.00" y="10.00" width="20.00" height="10.00"' in html
