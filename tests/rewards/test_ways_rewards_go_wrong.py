"""Known ways in which rewards are silently wrong, one test each, numbered as in the project's list of them.

Rows 27 (groups without variance) and 33 (sampled image tokens) belong to training and are tested there.
"""

import sys
import threading
import time

import numpy as np
import pytest

from groundrl.rewards import (
    Boxes,
    Completion,
    Consistency,
    Example,
    Format,
    GIoU,
    GroundRLWarning,
    Group,
    LabelAccuracy,
    MeanAP,
    MedMOBox,
    Overlong,
    Reference,
    Reward,
    RewardError,
    Score,
    Scorer,
    SoftF1,
    parse_boxes,
    part_statistics,
    pixel,
    presets,
    rel1,
    reward,
    score_group,
)
from groundrl.rewards.core.function import load_module

TRUE = [100, 100, 200, 200]
QUICKSTART = 0.6 * SoftF1() + 0.3 * LabelAccuracy() + 0.1 * Format()


def boxed(*boxes):
    return f"1 cell <box>{[list(box) for box in boxes]}</box>"


def value(rewarded, text, example):
    return rewarded.score(Completion(text=text, box_space=example.box_space), example).value


@pytest.fixture
def task(example):
    return example([TRUE], label="1 cell")


GOLD = boxed(TRUE)


def test_01_an_answer_over_several_lines_is_read(task):
    text = "<think>a\nb</think>\n<answer>\n1 cell\n<box>[\n[100, 100,\n200, 200]]</box>\n</answer>"
    assert value(QUICKSTART, text, task) == 1.0


@pytest.mark.parametrize("inner", ["[[100.0, 1e2, 200, 200]]", "[ [100,100 , 200,200] ]", "[100, 100, 200, 200]"])
def test_02_floats_spaces_and_nesting_are_read(task, inner):
    assert value(QUICKSTART, f"1 cell <box>{inner}</box>", task) == 1.0


def test_02_a_negative_number_keeps_its_sign(task):
    assert parse_boxes("<box>[[-100, 100, 200, 200]]</box>").xyxy == ((-100.0, 100.0, 200.0, 200.0),)


def test_03_boxes_in_the_thoughts_do_not_count(task):
    assert value(QUICKSTART, f"<think>{GOLD}</think>1 cell", task) == 0.0
    assert value(SoftF1(), f"<think>{boxed([0, 0, 5, 5])}</think>{GOLD}", task) == 1.0


@pytest.mark.parametrize("order", [(GOLD, "2 cells"), ("2 cells", GOLD)])
def test_04_05_neither_first_nor_last_of_several_answers_is_taken(task, order):
    text = "".join(f"<answer>{answer}</answer>" for answer in order)
    score = QUICKSTART.score(Completion(text=text), task)
    assert (score.value, score.parts["soft_f1"].detail["reason"]) == (0.0, "answer: ambiguous")


def test_06_truncated_json_is_named_and_not_repaired(task):
    text = '[{"bbox_2d": [100, 100, 200, 200], "label": "cell"}, {"bbox_2d": [1, 2'
    score = SoftF1().score(Completion(text=text), task)
    assert (score.value, score.detail["reason"]) == (0.0, "boxes: truncated")


def test_07_four_numbers_are_always_corners(task):
    assert value(SoftF1(), boxed([100, 100, 100, 100]), task) == 0.0  # x, y, width, height of the true box
    assert value(SoftF1(), '{"bbox": [100, 100, 100, 100]}', task) == 0.0


FORMS = [
    "<box>[[100,100,200,200]]</box>",
    "[[100,100,200,200]]",
    "[100,100,200,200]",
    '{"bbox_2d": [100,100,200,200]}',
    "<|box_start|>(100,100),(200,200)<|box_end|>",
]


@pytest.mark.parametrize("form", FORMS)
def test_08_every_accepted_form_is_worth_the_same(task, form):
    assert value(QUICKSTART, f"1 cell {form}", task) == 1.0


def test_09_normalised_boxes_have_no_pixel_conventions():
    truth = Boxes(xyxy=np.array([[0.0, 0, 1, 1]]), space=rel1)
    task = Example(id="e", prompt="p", box_space=rel1, reference=Reference(boxes=truth))
    assert value(SoftF1(), "<box>[[0, 0, 1, 1]]</box>", task) == 1.0
    assert value(SoftF1(), "<box>[[0, 0, 1, 0.5]]</box>", task) == 0.5


def test_10_a_space_is_declared_and_never_guessed_from_the_numbers():
    truth = Boxes(xyxy=np.array([[1.0, 0, 5, 9]]), space=pixel(1000, 1000))
    small = Example(id="e", prompt="p", reference=Reference(boxes=truth))
    assert value(SoftF1(), "<box>[[1, 0, 5, 9]]</box>", small) == 1.0
    assert value(SoftF1(), "<box>[[0.001, 0, 0.005, 0.009]]</box>", small) < 0.001


ODD = {
    "inverted": [200, 200, 100, 100],
    "zero area": [100, 100, 100, 200],
    "out of range": [-100, -100, 2000, 2000],
}


@pytest.mark.parametrize("box", ODD.values(), ids=ODD.keys())
@pytest.mark.parametrize("rewarded", [SoftF1(), GIoU(), MeanAP(), MedMOBox()], ids=repr)
def test_11_an_odd_box_is_a_false_box(task, rewarded, box):
    assert value(rewarded, boxed(box), task) == 0.0
    assert value(rewarded, boxed(TRUE, box), task) < 1.0


@pytest.mark.parametrize("number", ["NaN", "1e309", "Infinity"])
def test_11_a_number_that_is_none_makes_the_answer_unreadable(task, number):
    assert value(QUICKSTART, f"1 cell <box>[[{number}, 100, 200, 200]]</box>", task) == 0.0


@pytest.mark.parametrize("rewarded", [SoftF1(), GIoU(), MeanAP(), MedMOBox(), presets.vision_reasoner()], ids=repr)
def test_12_nothing_to_find_and_nothing_found_is_the_most(example, task, rewarded):
    nothing, high = "0 cells <box>[]</box>", rewarded.range[1]
    assert value(rewarded, nothing, example([])) == high
    assert value(rewarded, GOLD, example([])) == 0.0
    assert value(rewarded, nothing, task) == 0.0


@pytest.mark.parametrize("rewarded", [SoftF1(), GIoU(), MeanAP(), MedMOBox()], ids=repr)
def test_13_14_duplicates_and_grids_cost(task, rewarded):
    near = [[100 + k, 100, 200 + k, 200] for k in range(5)]
    grid = [[200 * i, 200 * j, 200 * i + 200, 200 * j + 200] for i in range(5) for j in range(5)]
    assert value(rewarded, boxed(*[TRUE] * 5), task) <= 0.6
    assert value(rewarded, boxed(*near), task) <= 0.6
    assert value(rewarded, boxed(*grid), task) <= 0.1


def test_15_the_whole_image_is_worth_little(task):
    assert value(SoftF1(), boxed([0, 0, 1000, 1000]), task) == pytest.approx(0.01)


def test_16_the_order_of_the_list_does_not_matter(example):
    boxes = [[0, 0, 100, 100], [50, 50, 160, 150], [300, 300, 400, 420]]
    task = example(boxes)
    for rewarded in (SoftF1(), GIoU(), MeanAP(), MedMOBox()):
        shifted = [[v + 7 for v in box] for box in boxes]
        assert value(rewarded, boxed(*shifted), task) == value(rewarded, boxed(*shifted[::-1]), task)


def test_17_18_a_label_outside_the_truth_and_another_instances_box_cost(example):
    task = example([[0, 0, 100, 100], [500, 500, 600, 600]], box_labels=("cat", "dog"))
    named = '{{"bbox_2d": {}, "label": "{}"}}'.format
    right = [named([0, 0, 100, 100], "cat"), named([500, 500, 600, 600], "dog")]
    swapped = [named([0, 0, 100, 100], "dog"), named([500, 500, 600, 600], "cat")]
    outside = [*right, named([0, 0, 9, 9], "cow")]
    for rewarded in (SoftF1(match_labels=True), MeanAP(match_labels=True)):
        assert value(rewarded, f"[{', '.join(right)}]", task) == 1.0
        assert value(rewarded, f"[{', '.join(swapped)}]", task) == 0.0
        assert value(rewarded, f"[{', '.join(outside)}]", task) < 1.0


@pytest.mark.parametrize("said", ["abnormal", "unknown", "not sure", "nothing"])
def test_19_no_is_not_found_inside_another_word(example, said):
    assert value(LabelAccuracy(mode="yes_no"), said, example(label="no")) == 0.0


@pytest.mark.parametrize("said", ["A) CT", "A", "CT", "ct."])
def test_20_21_a_letter_its_text_or_both_are_the_same_choice(example, said):
    task = example(label="A", choices=("CT", "MRI", "Cat"))
    assert value(LabelAccuracy(mode="choice"), said, task) == 1.0
    assert value(LabelAccuracy(mode="choice"), "B) CT", task) == 0.0


def test_22_case_punctuation_and_synonyms_do_not_matter(example):
    rewarded = LabelAccuracy(synonyms={"pleural effusion": ("hydrothorax",)})
    for said in ("Pleural  Effusion.", "hydrothorax"):
        assert value(rewarded, said, example(label="pleural effusion")) == 1.0


@reward
def from_the_truth(completion, example):
    return float(len(example.reference.label or "") > 3)


def test_23_a_reward_that_ignores_the_completion_shows_a_share_of_zero(task):
    total = 0.5 * from_the_truth + 0.5 * LabelAccuracy()
    group = Group(example=task, completions=(Completion(text=GOLD), Completion(text="2 cells <box>[]</box>")))
    shares = part_statistics([score_group(total, group)], total)
    assert shares["from_the_truth"]["advantage_share"] == 0.0
    assert shares["label_accuracy"]["advantage_share"] == 1.0


@reward
def wrong_column(completion, example):
    return float(example.reference["severity"])


def test_24_an_exception_stops_the_run_and_shows_the_completion(task):
    with pytest.raises(
        RewardError, match=r"(?s)reward 'wrong_column' failed.*no column 'severity'.*completion '1 cell"
    ):
        Scorer(0.5 * wrong_column + 0.5 * SoftF1()).submit(Group(example=task, completions=(Completion(text=GOLD),)))


class Judge(Reward):
    def score(self, completion, example):
        return Score(value=None, status="error", detail={"reason": "HTTP 503"})


def test_25_a_judge_that_fails_masks_the_completion(task):
    scorer = Scorer(0.5 * Judge() + 0.5 * SoftF1())
    scorer.submit(Group(example=task, completions=(Completion(text=GOLD),) * 2))
    with pytest.warns(GroundRLWarning, match="status error .error in judge."):
        (group,) = scorer.results()
    assert [score.value for score in group.scores] == [None, None]
    assert (scorer.counts["error"], scorer.counts["groups_dropped"]) == (2, 1)


def test_26_a_very_long_answer_is_read_in_time_and_can_be_punished(task):
    start = time.process_time()
    assert value(SoftF1(), GOLD + " <box>[[1, 2, 3, 4]]</box>" * 40_000, task) < 0.001
    assert time.process_time() - start < 10
    assert Overlong(max_tokens=10, cache=5).score(Completion(text="x", token_ids=(1,) * 99), task).value == -1.0


@reward(range=(0, 10))
def explodes(completion, example):
    return float("inf") if completion.text == "3" else float(completion.text)


def test_28_one_infinity_masks_one_completion_and_leaves_its_group_alone(task):
    scorer = Scorer(explodes)
    scorer.submit(Group(example=task, completions=tuple(Completion(text=text) for text in "1234")))
    with pytest.warns(GroundRLWarning, match=r"status nonfinite.*completion '3'"):
        (group,) = scorer.results()
    assert [score.value for score in group.scores] == [1.0, 2.0, None, 4.0]
    assert part_statistics([group], explodes)["explodes"]["mean"] == pytest.approx(7 / 3)


@reward
def never_a_number(completion, example):
    return float("nan")


def test_29_a_part_that_is_always_nan_is_named_and_not_dropped(task):
    scorer = Scorer(0.5 * never_a_number + 0.5 * SoftF1())
    scorer.submit(Group(example=task, completions=(Completion(text=GOLD),) * 2))
    with pytest.warns(GroundRLWarning, match="nonfinite in never_a_number"):
        scorer.results()
    assert scorer.counts["nonfinite"] == 2


def test_30_two_functions_of_one_name_are_refused():
    one, other = (reward(lambda completion, example, k=k: float(k)) for k in (0, 1))
    with pytest.raises(ValueError, match=r"two parts are called '<lambda>'; give one another name with .named"):
        0.5 * one + 0.5 * other


class Short(Reward):
    def score(self, completion, example):
        return Score(value=1.0)

    def score_group(self, completions, example):
        return [Score(value=1.0)]


def test_31_a_list_of_the_wrong_length_is_refused_and_not_broadcast(task):
    group = Group(example=task, completions=(Completion(text=GOLD),) * 3)
    with pytest.raises(RewardError, match="'short' gave 1 scores for 3 completions"):
        Scorer(0.5 * Short() + 0.5 * SoftF1()).submit(group)


SLEEPER = """
import time
from groundrl.rewards import Reward, Score

class Sleeper(Reward):
    def score(self, completion, example):
        time.sleep(600 if completion.text == "hang" else 0)
        return Score(value=0.5)
"""


def test_32_a_verifier_that_hangs_meets_its_deadline(task, tmp_path, monkeypatch):
    (tmp_path / "sleepers.py").write_text(SLEEPER)
    module = load_module("sleepers", str(tmp_path / "sleepers.py"))
    monkeypatch.setitem(sys.modules, "sleepers", module)
    found = []

    def away_from_the_main_thread():  # where an alarm signal would not work
        with Scorer(module.Sleeper(), workers=1, deadline=1.0) as scorer:
            scorer.submit(Group(example=task, completions=(Completion(text="hang"), Completion(text="x"))))
            found.extend(scorer.results()[0].scores)

    thread = threading.Thread(target=away_from_the_main_thread)
    thread.start()
    thread.join()
    assert [score.value for score in found] == [0.0, 0.5]
    assert found[0].detail["reason"] == "deadline"


def test_a_consistent_lie_earns_consistency_but_nothing_else(task):
    lie = "2 cells <box>[[500, 500, 600, 600], [700, 700, 800, 800]]</box>"
    assert value(Consistency(), lie, task) == 1.0
    assert value(QUICKSTART, lie, task) == pytest.approx(0.1)
