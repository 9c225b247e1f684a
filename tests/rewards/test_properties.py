"""What holds for any text and any boxes."""

import math
import random

import numpy as np
import pytest
from hypothesis import example as tried
from hypothesis import given, settings
from hypothesis import strategies as st

from groundrl.rewards import (
    Boxes,
    Completion,
    Confidence,
    Consistency,
    CosineLength,
    Example,
    Factuality,
    FBetaIoU,
    Format,
    GIoU,
    Group,
    JsonSchema,
    LabelAccuracy,
    Length,
    MatchedIoU,
    MeanAP,
    MedLoc,
    MedMOBox,
    Mentions,
    Overlong,
    Pattern,
    Reference,
    Repetition,
    SoftF1,
    TagCount,
    ThresholdIoU,
    pixel,
    presets,
    rel1000,
    score_group,
)

REWARDS = [
    SoftF1(),
    SoftF1(match_labels=True),
    GIoU(),
    FBetaIoU(beta=2.0, threshold=0.3),
    MatchedIoU(power=2.0),
    ThresholdIoU(),
    MeanAP(match_labels=True),
    Confidence(),
    MedMOBox(),
    MedLoc(),
    LabelAccuracy(),
    LabelAccuracy(mode="choice"),
    LabelAccuracy(mode="yes_no"),
    LabelAccuracy(mode="number"),
    LabelAccuracy(mode="multi_label"),
    Mentions(column="modality"),
    Format(tags=("think", "answer")),
    TagCount(),
    Pattern(pattern="(a*)*b|.*<box>.*"),
    JsonSchema(schema={"type": "object"}),
    Consistency(),
    Consistency(findings=("nucleus",)),
    Factuality(),
    Overlong(max_tokens=100, cache=50),
    Repetition(),
    Length(),
    CosineLength(max_tokens=100),
    *(
        presets.PRESETS[name](as_published=True)
        for name in ("vlm_r1_rec", "vlm_r1_od", "visual_rft", "vision_reasoner")
    ),
    presets.perception_r1(as_published=True),
]

PIECES = [
    "<box>", "</box>", "[[", "]]", "[", "]", ", ", "1", "-3", "1000", "1e309", "1e-320", "0.5", "nan",
    "<think>", "</think>",
    "<answer>", "</answer>", '{"bbox_2d": ', '"label": "a"', '"score": 1e400', "}", "<|box_start|>", "<|box_end|>",
    "(1,2),(3,4)",
    "yes", "A)", " ", "\n", "\x00", "\ud800", "[1, 2, 3, 4]", "[10, 10, 5, 5], ", "9" * 50, "é", "３",
]  # fmt: skip
texts = st.one_of(
    st.text(max_size=200),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.builds(lambda piece, n: (piece * n)[:20_000], st.sampled_from(PIECES), st.integers(1, 20_000)),
)
coordinates = st.one_of(st.integers(-50, 1050).map(float), st.floats(allow_nan=False, allow_infinity=False))
sets = st.lists(st.tuples(*[coordinates] * 4), max_size=5)


def task(boxes, **reference):
    truth = Boxes(xyxy=np.array(boxes, dtype=float).reshape(-1, 4), space=rel1000)
    return Example(id="e", prompt="p", reference=Reference(boxes=truth, **reference))


FULL = {
    "report": "Three nuclei.",
    "labels": ("a", "b"),
    "choices": ("3", "4"),
    "label": "3",
    "columns": {"modality": "CT"},
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("reward", REWARDS, ids=repr)
@settings(max_examples=20)
@given(text=texts, truth=sets)
def test_no_reward_raises_or_leaves_its_range_on_any_text_and_boxes(reward, text, truth):
    completions = (Completion(text=text, token_ids=(1,) * (len(text) % 150)), Completion(text="3", token_ids=(1, 2)))
    for score in score_group(reward, Group(example=task(truth, **FULL), completions=completions)).scores:
        assert score.status in ("ok", "abstain")


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=25)
@given(predicted=sets, truth=sets)
def test_no_reward_raises_on_any_boxes(predicted, truth):
    completion = Completion(
        text="3 <box>[" + ", ".join(f"[{a!r}, {b!r}, {c!r}, {d!r}]" for a, b, c, d in predicted) + "]</box>"
    )
    for reward in [*REWARDS[:10], presets.vision_reasoner()]:
        score_group(reward, Group(example=task(truth, **FULL), completions=(completion,)))


BOXES = [SoftF1(), GIoU(), FBetaIoU(beta=2.0), MatchedIoU(power=2.0), ThresholdIoU(), MeanAP(), MedMOBox()]
inside = st.lists(
    st.tuples(*[st.integers(0, 900)] * 2, *[st.integers(1, 100)] * 2).map(
        lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
    ),
    max_size=6,
)


def boxed(boxes):
    return f"3 <box>{[list(map(float, box)) for box in boxes]}</box>"


@given(predicted=inside, truth=inside, seed=st.integers(0, 9))
def test_the_order_of_either_list_does_not_matter(predicted, truth, seed):
    shuffled, other = list(predicted), list(truth)
    random.Random(seed).shuffle(shuffled)
    random.Random(seed + 1).shuffle(other)
    for reward in BOXES:
        one = reward.score(Completion(text=boxed(predicted)), task(truth)).value
        assert reward.score(Completion(text=boxed(shuffled)), task(other)).value == pytest.approx(one, abs=1e-12)


@given(predicted=inside, truth=inside, wide=st.floats(0.1, 50), high=st.floats(0.1, 50))
def test_the_space_in_which_boxes_are_written_does_not_matter(predicted, truth, wide, high):
    space = pixel(1000 * wide, 1000 * high)
    scaled = Boxes(xyxy=np.array(predicted, dtype=float).reshape(-1, 4), space=rel1000).to(space).xyxy.tolist()
    for reward in BOXES[:4]:
        one = reward.score(Completion(text=boxed(predicted)), task(truth)).value
        other = reward.score(Completion(text=boxed(scaled), box_space=space), task(truth)).value
        assert other == pytest.approx(one, abs=1e-6)


@given(truth=inside.filter(bool))
def test_gold_has_the_most(truth):
    distinct = list(dict.fromkeys(truth))
    for reward in BOXES:
        assert reward.score(Completion(text=boxed(distinct)), task(distinct)).value == pytest.approx(1.0)


one_box = inside.filter(bool).map(lambda boxes: boxes[0])


@settings(max_examples=25)
@given(start=one_box, truth=one_box, steps=st.integers(2, 20))
@tried(start=(0, 0, 900, 900), truth=(950, 950, 960, 960), steps=10)
def test_one_box_on_its_way_to_the_truth_never_earns_less(start, truth, steps):
    for reward in BOXES:
        previous = -math.inf
        for k in range(steps + 1):
            box = [(1 - k / steps) * a + k / steps * b for a, b in zip(start, truth, strict=True)]
            value = reward.score(Completion(text=boxed([box])), task([truth])).value
            assert value >= previous - 1e-9, (reward, box)
            previous = value


QUICKSTART = 0.6 * SoftF1() + 0.3 * LabelAccuracy() + 0.1 * Format()


@given(text=texts, truth=inside, predicted=inside)
@tried(text="3", truth=[(0, 0, 1, 1)], predicted=[])
def test_an_unparsable_answer_never_outranks_a_parsable_one(text, truth, predicted):
    example, broken = task(truth, label="3"), Completion(text=text)
    if broken.boxes is not None:
        return
    parsable = Completion(text=f"another label {boxed(predicted)[2:]}")
    assert parsable.parsed_boxes.status == "ok"
    assert QUICKSTART.score(broken, example).value <= QUICKSTART.score(parsable, example).value
