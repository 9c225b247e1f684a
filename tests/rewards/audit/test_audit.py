"""The audit itself: published rewards, schemas, groups, ranges, what it says where something does not apply."""

import json

import numpy as np
import pytest

from groundrl.rewards import (
    AuditReport,
    Boxes,
    Example,
    Format,
    LabelAccuracy,
    Length,
    Overlong,
    Reference,
    Repetition,
    SoftF1,
    audit,
    gate,
    parse_reward,
    presets,
    rel1000,
    reward,
)


def shares(report: AuditReport) -> dict[str, float | None]:
    return {own.name: own.scale for own in report.policies}


@pytest.fixture(scope="module")
def one_box() -> list[Example]:
    """REWARDS' random scenes: one true box of 5 to 30 % of the side."""
    rng = np.random.default_rng(0)
    size = rng.uniform(50, 300, (48, 2))
    corner = rng.uniform(0, 1, (48, 2)) * (1000 - size)
    return [
        Example(
            id=f"e{k}", prompt="Find.", reference=Reference(label="1 thing", boxes=Boxes(xyxy=box[None], space=rel1000))
        )
        for k, box in enumerate(np.hstack([corner, corner + size]))
    ]


@pytest.mark.parametrize(
    ("expression", "whole", "centre", "false", "grid", "five"),
    [
        ("presets.medmo_box(as_published=True)", 0.446, 0.591, 1.0, 0.831, 1.0),
        ("MedMOBox()", 0.446, 0.591, 0.0, 0.0, 0.6),
        ("GreedyIoU()", 0.0, 0.008, 0.091, 0.002, 1.0),
        ("SoftF1()", 0.032, 0.037, 0.167, 0.024, 0.333),
    ],
)
def test_the_table_of_published_rewards(one_box, expression, whole, centre, false, grid, five):
    """Figures of an independent implementation on random scenes, expected within .03."""
    means = {own.name: own.mean for own in audit(parse_reward(expression), one_box).policies}
    names = ("whole image", "centre box", "gold plus ten false boxes", "5x5 grid", "every true box five times")
    assert [means[name] for name in names] == pytest.approx([whole, centre, false, grid, five], abs=0.03)


def test_medmo_as_published_pays_for_the_grid(few):
    report = audit(presets.medmo_box(as_published=True), few)
    flagged = {own.name: own for own in report.flagged}
    assert {"5x5 grid", "every true box five times", "random boxes"} <= set(flagged)
    offence = flagged["5x5 grid"].offences[0]
    assert offence.text.count("[") == 26
    assert len(flagged["5x5 grid"].offences) == 3
    assert flagged["5x5 grid"].scale_interval[0] < flagged["5x5 grid"].scale < flagged["5x5 grid"].scale_interval[1]


def test_the_result_is_the_same_twice_and_is_json(few):
    first, second = (audit(SoftF1(), few, seed=3) for _ in range(2))
    assert first == second
    assert json.loads(json.dumps(first.as_json(), allow_nan=False))["passed"] is True
    assert audit(SoftF1(), few, seed=4) != first


def test_policies_of_other_schemas_are_listed_with_the_reason(few, questions):
    reasons = {own.name: own.reason for own in audit(SoftF1(), few).policies}
    assert reasons["laterality swapped"] == "the references have no report"
    assert reasons["both yes and no"] == "the labels are not yes and no"
    assert reasons["5x5 grid"] is None
    reasons = {own.name: own.reason for own in audit(LabelAccuracy(mode="yes_no"), questions).policies}
    assert reasons["5x5 grid"] == "the references have no boxes"
    assert reasons["both yes and no"] is None


def test_a_sound_label_reward_on_questions(questions):
    report = audit(LabelAccuracy(mode="yes_no"), questions, threshold=0.6)
    assert report.passed, str(report)
    assert shares(report)["best constant"] == pytest.approx(0.5, abs=0.1)


@reward
def contains(completion, example):
    """A published parser: "unknown" has a "no" in it."""
    return float(example.reference.label in completion.text.lower())


def test_a_label_by_substring_is_flagged_on_questions(questions):
    found = shares(audit(contains, questions))
    assert found["both yes and no"] == found["every label"] == 1.0
    assert found["neither yes nor no"] == pytest.approx(0.5)


def test_a_threshold_moves_the_verdict(few):
    worst = max(own.scale for own in audit(SoftF1(), few).policies if own.rule == "threshold" and own.scale)
    assert audit(SoftF1(), few, threshold=worst + 0.01).passed
    assert not audit(SoftF1(), few, threshold=worst - 0.01).passed
    for threshold in (0.0, 1.5, float("nan")):
        with pytest.raises(ValueError, match="threshold is a share above 0"):
            audit(SoftF1(), few, threshold=threshold)


def test_an_audit_needs_examples():
    with pytest.raises(ValueError, match="at least one example"):
        audit(SoftF1(), [])


def test_penalties_of_excess_do_not_make_all_else_look_well_paid(few):
    """Overlong pays -1 for the very long text; an empty answer is not half as good as gold for that."""
    report = audit(SoftF1() + Overlong(max_tokens=512, cache=128), few)
    assert report.passed, str(report)
    assert report.worst == 0.0
    assert shares(report)["very long text"] == pytest.approx(-1.0, abs=0.01)
    assert audit(SoftF1() + Repetition(), few).passed


def test_a_reward_of_groups_is_given_copies(few):
    """Among copies no answer is shorter than another: Length is 0 for all and changes nothing."""
    report = audit(gate(Format(), SoftF1()) + 0.5 * Length(), few)
    assert report.passed, str(report)
    assert report.gold == pytest.approx(audit(gate(Format(), SoftF1()), few).gold)
    alone = audit(Length(), few)
    assert [own.name for own in alone.failed] == ["gold is the maximum"]


def test_a_composed_reward_that_does_not_look_at_boxes_says_so(few):
    report = audit(LabelAccuracy(), few)
    reasons = {own.name: own.reason for own in report.policies}
    assert reasons["gold plus ten false boxes"] == "the reward does not look at boxes"
    assert reasons["5x5 grid"] is None
    assert next(own for own in report.checks if own.name == "noise costs").passed is None


@reward
def picky(completion, example):
    raise KeyError("boxes") if "<box>[]" in completion.text else ValueError("no")


@reward
def infinite(completion, example):
    return float("inf") if completion.boxes is None else 1.0


def test_a_reward_that_raises_is_a_finding_with_the_completion(few):
    report = audit(picky, few)
    (check,) = (own for own in report.failed if own.name == "never raises")
    assert "KeyError" in check.detail or "ValueError" in check.detail
    assert check.offences
    assert report.gold is None
    assert "no number" in report.verdict
    failed = {own.name: own for own in audit(infinite, few).failed}
    assert "nonfinite" in failed["never raises"].detail


def test_a_reward_that_always_abstains_has_no_gold(questions):
    report = audit(SoftF1(), questions)
    assert not report.passed
    assert "abstains on every gold answer" in report.verdict


@reward(ordered=True)
def first_is_best(completion, example):
    predicted, truth = completion.boxes, example.reference.boxes
    if predicted is None or len(predicted) != len(truth):
        return 0.0
    return float(np.array_equal(predicted.xyxy, truth.xyxy))


def test_a_reward_may_declare_that_order_matters(few):
    (check,) = (own for own in audit(0.5 * first_is_best + 0.5 * SoftF1(), few).checks if "order" in own.name)
    assert check.passed is None
    assert "declares" in check.detail


def test_nothing_is_fitted_on_few_examples_or_one_block(scenes):
    for own in audit(SoftF1(), scenes(20)).policies[-2:]:
        assert "the smaller half of the blocks has 10 examples" in own.reason
    single = [Example(id=f"x{k}", prompt="p", reference=Reference(label="a"), block="b") for k in range(60)]
    for own in audit(LabelAccuracy(), single).policies[-2:]:
        assert "one block" in own.reason


def test_the_constant_is_fitted_on_one_half_and_scored_on_the_other(scenes):
    """Nine of ten answers are the same: the constant finds it; the mean is over the other half's examples."""
    examples = [
        Example(
            id=f"x{k}",
            prompt="p",
            answer="no" if k % 10 else f"yes {k}",
            reference=Reference(label="no" if k % 10 else f"yes {k}"),
            block=f"{k // 10}",
        )
        for k in range(200)
    ]
    report = audit(LabelAccuracy(), examples)
    constant = next(own for own in report.policies if own.name == "best constant")
    assert constant.num_examples == 100
    assert constant.mean == pytest.approx(0.9)
    assert constant.flagged
    assert constant.offences[0].text == "no"


def test_the_search_finds_where_objects_always_are(scenes):
    """All boxes are the same tile of a 3x3 grid: no fixed policy knows it, the search does."""
    tile = Boxes(xyxy=np.array([[333.0, 333.0, 667.0, 667.0]]), space=rel1000)
    examples = [
        Example(
            id=f"x{k}",
            prompt="p",
            reference=Reference(
                label="1 cell",
                boxes=tile if k % 2 else Boxes(xyxy=tile.xyxy + np.array([0, 0, k % 7, 3]), space=rel1000),
            ),
        )
        for k in range(80)
    ]
    found = {own.name: own for own in audit(SoftF1(), examples).policies}
    assert found["search"].scale > 0.95
    assert "1 of the 9 boxes of a 3x3 grid" in found["search"].does
    assert found["centre box"].scale < 0.5
