"""Published rewards: goldens by hand, their defects and what mends them, and the table of how they are gamed."""

import math

import numpy as np
import pytest

from groundrl.rewards import (
    Boxes,
    Completion,
    Example,
    MedMOBox,
    Reference,
    Reward,
    Score,
    SoftF1,
    parse_reward,
    presets,
    rel1,
    rel1000,
    reward,
)
from groundrl.rewards.published.formulas import VisionReasoner
from groundrl.rewards.published.presets import PRESETS


def boxed(*boxes):
    return f"<box>[{', '.join('[' + ', '.join(f'{v:.4f}' for v in box) + ']' for box in boxes)}]</box>"


def value(rewarded, text, example, **completion):
    return rewarded.score(Completion(text=text, box_space=example.box_space, **completion), example).value


@reward
def judge(completion, example):
    return 1.0


@reward(range=(-1, 1))
def cosine(completion, example):
    return 0.79


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("as_published", [False, True])
def test_every_preset_is_made_by_name_and_written_as_an_expression(name, as_published):
    others = {"judge": judge, "embedding": cosine} if name == "medix_r1" else {}
    made = PRESETS[name](as_published=as_published, **others)
    names = {"judge": judge, "cosine": cosine}
    assert repr(parse_reward(repr(made), names)) == repr(made)
    if not others:
        assert repr(parse_reward(f"presets.{name}(as_published={as_published})")) == repr(made)


def test_an_old_name_in_a_recorded_expression_is_read():
    assert parse_reward("presets.map()").fingerprint == presets.mean_average_precision().fingerprint
    with pytest.raises(ValueError, match="did you mean 'mean_average_precision'"):
        parse_reward("presets.mean_avrage_precision()")


def test_medmo_box_by_hand(example):
    task = example([[0, 0, 300, 400]])
    # Shifted right by 100: L1 = (100 + 100) / (2 * 1414.2136) = .0707107. Inside 200 * 400 = 80000, union 160000, hull
    # 400 * 400 = 160000: GIoU = .5. s = (5 * .9292893 + 2 * 1.5 / 2) / 7 = (4.6464466 + 1.5) / 7 = .8780638.
    assert value(presets.medmo_box(), boxed([100, 0, 400, 400]), task) == pytest.approx(0.8780638)
    # The same with one false box: less false_penalty .1 / G = .1.
    far = [900, 900, 950, 950]
    assert value(presets.medmo_box(), boxed([100, 0, 400, 400], far), task) == pytest.approx(0.7780638)
    assert value(presets.medmo_box(as_published=True), boxed([100, 0, 400, 400], far), task) == pytest.approx(0.8780638)
    # Two true boxes, one found exactly: s = 1; (1 - .1) / 2.
    assert value(presets.medmo_box(), boxed([0, 0, 300, 400]), example([[0, 0, 300, 400], far])) == pytest.approx(0.45)
    # A degenerate box is in no pair: one miss and one false box, clipped at 0.
    assert value(presets.medmo_box(as_published=True), boxed([300, 400, 0, 0]), task) == 0.0


def test_medmo_is_its_four_signals(example):
    task = example([[0, 0, 300, 400]], label="1 cell")
    text = "<think>so</think><answer>1 cell " + boxed([0, 0, 300, 400]) + "</answer>"
    # Label 1, box 1, four tags 1, and 448 tokens are half way between 512 - 128 and 512: -.5.
    assert value(presets.medmo(), text, task, token_ids=(1,) * 448) == pytest.approx(2.5)


def test_vlm_r1_rec_and_its_defects(example):
    task = example([[0, 0, 10, 10]])
    # Published: inside (9 - 0 + 1)^2 = 100 of union 100 for identical boxes; further boxes are free.
    published, mended = presets.vlm_r1_rec(as_published=True), presets.vlm_r1_rec()
    text = "<answer>[0, 0, 10, 10] [0, 0, 99, 99]</answer>"
    assert value(published, text, task) == 1.0
    # Shifted by 4: inside x from 4 to min(14, 10) - 1 = 9: 6 * 10 = 60, union 140.
    assert value(published, "[4, 0, 14, 10]", task) == pytest.approx(60 / 140)
    assert value(published, "[0.0, 0.0, 10.0, 10.0]", task) == 0.0
    whole = Reference(boxes=Boxes(xyxy=np.array([[0, 0, 1, 1.0]]), space=rel1))
    unit = Example(id="u", prompt="", box_space=rel1, reference=whole)
    assert value(published, "[0, 0, 1, 1]", unit) == 0.0
    assert value(mended, "[0, 0, 1, 1]", unit) == 1.0
    assert value(mended, boxed([0, 0, 10, 10], [50, 50, 60, 60]), task) == 0.5


def labelled(*pairs):
    return "[" + ", ".join(f'{{"bbox_2d": {box}, "label": "{label}"}}' for box, label in pairs) + "]"


def test_vlm_r1_od_and_its_defects(example):
    task = example([[0, 0, 10, 10]], box_labels=("cat",))
    right, wrong = ([0, 0, 10, 10], "cat"), ([50, 50, 60, 60], "dog")
    published, mended = presets.vlm_r1_od(od_length=False, as_published=True), presets.vlm_r1_od()
    # A label outside the truth: dropped free of charge; mended, the mean over labels cat (1) and dog (0).
    assert value(published, labelled(right, wrong), task) == 1.0
    assert value(mended, labelled(right, wrong), task) == 0.5
    # A false box of the same label, listed last: free when published; mended, precision 1/2 at every recall.
    false = ([50, 50, 60, 60], "cat")
    assert value(published, labelled(right, false), task) == 1.0
    assert value(published, labelled(false, right), task) == pytest.approx(0.5)
    assert (
        value(mended, labelled(right, false), task) == value(mended, labelled(false, right), task) == pytest.approx(0.5)
    )
    assert value(presets.vlm_r1_od(as_published=True), labelled(right, false), task) == pytest.approx(0.5)


def test_visual_rft_by_hand(example):
    task = example([[0, 0, 10, 10], [100, 100, 110, 110]])
    text = '[{"bbox_2d": [0, 0, 10, 8], "score": 0.9}, {"bbox_2d": [50, 50, 60, 60], "score": 0.3}]'
    # IoU .8 over max(2, 2); confidence (.9 + (1 - .3)) / 2.
    assert value(presets.visual_rft(), text, task) == pytest.approx(0.4 + 0.8)
    twice = boxed([0, 0, 10, 10], [0, 0, 10, 10])
    one = example([[0, 0, 10, 10]])
    assert presets.visual_rft(as_published=True).score(Completion(text=twice), one).parts["greedy_iou"].value == 1.0
    assert presets.visual_rft().score(Completion(text=twice), one).parts["matched_iou"].value == 0.5


def test_vision_reasoner_by_hand(example):
    task = example([[100, 100, 200, 200]])
    # Moved by 20: IoU 80*100 / 12000 = 2/3 > .5; mean |d| (20 + 0 + 20 + 0) / 4 = 10 < 1000 * 10/840; centre 20 < 35.7.
    assert value(presets.vision_reasoner(), boxed([120, 100, 220, 200]), task) == 3.0
    # Moved by 24: mean |d| 12 > 11.9.
    assert value(presets.vision_reasoner(), boxed([124, 100, 224, 200]), task) == 2.0
    assert value(presets.vision_reasoner(), boxed([120, 100, 220, 200], [0, 0, 9, 9]), task) == 1.5
    negative = example([])
    assert value(presets.vision_reasoner(), "<box>[]</box>", negative) == 3.0
    assert value(presets.vision_reasoner(as_published=True), "<box>[]</box>", negative) == 0.0


def test_perception_r1_squares_iou_and_its_published_format_passes_anything_that_begins_with_a_bracket(example):
    task = example([[0, 0, 10, 10]])
    text = "<anything " + boxed([0, 0, 10, 5])
    assert value(presets.perception_r1(as_published=True), text, task) == pytest.approx(0.25 + 1)
    assert value(presets.perception_r1(), text, task) == pytest.approx(0.25)


class Down(Reward):
    name = "judge"

    def score(self, completion, example):
        return Score(value=None, status="error", detail={"reason": "no connection"})


def test_medix_r1_by_hand_and_its_failing_judge(example):
    task = example(columns={"modality": "CT"})
    text = "<think>hm</think><answer>A chest CT</answer>"
    # .9 (.575 + .375 * [.79 >= .8] + .05) + .1 = .9 * .625 + .1
    assert value(presets.medix_r1(judge=judge, embedding=cosine), text, task) == pytest.approx(0.6625)
    down = presets.medix_r1(judge=Down(), embedding=cosine).score(Completion(text=text), task)
    assert (down.status, down.value) == ("error", None)
    assert value(presets.medix_r1(judge=Down(), embedding=cosine, as_published=True), text, task) == pytest.approx(
        0.145
    )
    short = "<think>hm</think><answer>B</answer>"
    assert value(presets.medix_r1(judge=judge, embedding=cosine, as_published=True), short, task) == pytest.approx(0.1)


def test_lingshu_by_hand(example):
    task = example(label="yes")
    assert value(presets.lingshu(), "<think>a</think><answer>yes</answer>", task) == 1.5
    assert value(presets.lingshu(), "yes", task) == 1.0


def test_medloc_raises_its_threshold_when_it_is_earned():
    loc = presets.medloc()
    good = Score(value=1.0, detail={"iou": 0.95})
    raised = []
    for _ in range(30 * 5):
        loc.observe([good, good])
        raised.append(loc.state_dict()["threshold"])
    # .3 + .15 -> .45 + .15 -> .6 + .10 -> .7 + .10 -> .8, and no further; each after a full window of 30 steps.
    assert [raised[k] for k in (28, 29, 59, 89, 119, 149)] == [0.3, 0.45, 0.6, 0.7, 0.8, 0.8]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([(0.79, 0.9)] * 30, "mean below .80"),
        ([(0.6, 0.9), (1.0, 0.9)] * 15, "std .203 above .20"),
        ([(1.0, 0.39)] * 30, "IoU less than .10 above"),
        ([(1.0, 0.9)] * 29, "window not full"),
    ],
)
def test_medloc_keeps_its_threshold_otherwise(steps, why):
    loc = presets.medloc()
    for mean, iou in steps:
        loc.observe([Score(value=mean, detail={"iou": iou})])
    assert loc.state_dict()["threshold"] == 0.3, why


def test_medloc_scores_by_its_present_threshold(example):
    task, loc = example([[0, 0, 10, 10]]), presets.medloc()
    assert value(loc, boxed([0, 0, 10, 4]), task) == 1.0
    loc.load_state_dict({"threshold": 0.45, "steps": []})
    assert value(loc, boxed([0, 0, 10, 4]), task) == 0.0


# Rewards under attack: mean over random scenes with one true box whose sides are 5 to 30 % of the canvas. Columns:
# MedMO with both penalties 0, .1, .5; VisionReasoner's box part / 2; Visual-RFT; soft F1.
TABLE = {
    "exact": (1.000, 1.000, 1.000, 1.000, 1.000, 1.000),
    "shifted": (0.861, 0.861, 0.861, 0.120, 0.133, 0.405),
    "whole image": (0.446, 0.446, 0.446, 0, 0, 0.032),
    "centre box": (0.591, 0.591, 0.591, 0.007, 0.008, 0.037),
    "random box": (0.465, 0.465, 0.465, 0, 0, 0.005),
    "exact + 10 false": (1.000, 0, 0, 0.091, 0.091, 0.167),
    "5 x 5 grid": (0.831, 0, 0, 0.002, 0.002, 0.024),
    "five times": (1.000, 0.600, 0, 0.200, 1.000, 0.333),
}


def random_box(rng, margin=0.0):
    """Sides 50 to 300; at least `margin` of its own side away from the edges."""
    size = rng.uniform(50, 300, 2)
    corner = rng.uniform(margin * size, 1000 - (1 + margin) * size)
    return np.array([*corner, *(corner + size)])


def scene(rng):
    """Two tasks: a box and what each policy answers to it; a box away from the edges and eight shifted copies."""
    truth, inner = random_box(rng), random_box(rng, margin=0.5)
    shifts = rng.uniform(-0.5, 0.5, (8, 2)) * (inner[2:] - inner[:2])
    answers = [
        ("exact", [truth]),
        ("whole image", [[0, 0, 1000, 1000]]),
        ("centre box", [[350, 350, 650, 650]]),
        ("random box", [random_box(rng)]),
        ("exact + 10 false", [truth, *(random_box(rng) for _ in range(10))]),
        ("5 x 5 grid", [[200 * i, 200 * j, 200 * i + 200, 200 * j + 200] for i in range(5) for j in range(5)]),
        ("five times", [truth] * 5),
    ]
    return [(truth, answers), (inner, [("shifted", [inner + np.tile(shift, 2)]) for shift in shifts])]


def test_the_table_of_gamed_rewards_is_reproduced():
    rng = np.random.default_rng(0)
    columns = [MedMOBox(miss_penalty=penalty, false_penalty=penalty) for penalty in (0.0, 0.1, 0.5)]
    columns += [VisionReasoner(points=False), presets.visual_rft(as_published=True).children[0], SoftF1()]
    found = {name: [] for name in TABLE}
    for truth, answers in (task for _ in range(200) for task in scene(rng)):
        task = Example(id="", prompt="", reference=Reference(boxes=Boxes(xyxy=truth[None], space=rel1000)))
        group = [Completion(text=boxed(*boxes)) for _, boxes in answers]
        scores = [[score.value for score in column.score_group(group, task)] for column in columns]
        for (name, _), *values in zip(answers, *scores, strict=True):
            found[name].append(values)
    for name, expected in TABLE.items():
        means = np.mean(found[name], axis=0) / [1, 1, 1, 2, 1, 1]
        # Two cells are given .05: for a uniform shift P(IoU > .5) is (1/3 - 2/3 ln 3/2) / .25 = .252; half of it, .126,
        # is above the figure before any of the second indicator; 200 scenes scatter by .015 and .02.
        shifted = name == "shifted"
        allowed = [0.03, 0.03, 0.03, 0.05 if shifted else 0.03, 0.05 if shifted else 0.03, 0.03]
        assert (np.abs(means - expected) < allowed).all(), (name, means)


def test_the_default_medmo_does_not_pay_for_enumeration(example):
    task = example([[100, 100, 200, 200]])
    many = boxed([100, 100, 200, 200], *([k, 0, k + 50, 50] for k in range(0, 900, 60)))
    assert value(presets.medmo_box(as_published=True), many, task) == pytest.approx(1.0)
    assert value(presets.medmo_box(), many, task) == 0.0


def test_cosine_length_by_hand(example):
    task = example(label="yes")
    # Correct at half of max_tokens: .5 + .25 * (1 + cos(pi/2)) = .75; wrong: -.5 - .25 = -.75; correct at the end: .5.
    half, full = {"token_ids": (1,) * 512}, {"token_ids": (1,) * 1024}
    assert value(presets.cosine_length(), "yes", task, **half) == pytest.approx(0.75)
    assert value(presets.cosine_length(), "no", task, **half) == pytest.approx(-0.75)
    assert value(presets.cosine_length(), "yes", task, **full) == pytest.approx(0.5)
    assert math.isclose(value(presets.cosine_length(), "no", task, **full), -0.5)


def test_repetition_tags_and_overlong_by_hand(example):
    task = example()
    # Trigrams of "a b c a b c": abc bca cab abc: 3 unique of 4, so -(1 - 3/4).
    assert value(presets.repetition(), "a b c A b c", task) == -0.25
    assert value(presets.repetition(), "a b", task) == 0.0
    assert value(presets.tag_count(), "<think>a</think><answer>b", task) == 0.75
    assert value(presets.tag_count(), "<think><think></think>", task) == 0.25
    tokens = {384: 0.0, 400: -0.125, 448: -0.5, 512: -1.0, 600: -1.0}
    for count, expected in tokens.items():
        assert value(presets.soft_overlong(max_tokens=512, cache=128), "x", task, token_ids=(1,) * count) == expected
