"""Every task: prompt, gold answer and reference by hand; its own reward pays gold the most and passes its audit."""

import string
from dataclasses import replace

import numpy as np
import pytest

from groundrl.experiments.tasks import TASKS, Fields
from groundrl.rewards import Boxes, Completion, ImageRef, parse_reward, pixel, rel1000
from groundrl.rewards.audit import audit

IMAGE = (ImageRef(source=b"never opened", width=100, height=50),)
REPORTS = (
    "Small right pleural effusion. No pneumothorax.",
    "Cardiomegaly. Clear lungs.",
    "Left lower lobe pneumonia.",
    "Large left pneumothorax. No effusion.",
    "Bibasilar atelectasis. Mild pulmonary edema.",
    "Right upper lobe nodule.",
)


def boxes(*rows, labels=None):
    return Boxes(xyxy=np.array(rows, dtype=float).reshape(-1, 4), space=pixel(100.0, 50.0), labels=labels)


def fields(**stated):
    return Fields(id="a", dataset="d", **stated)


def made(task, template=None, **stated):
    example = TASKS[task].example(fields(**stated), template=template)
    assert example.reference["task"] == task
    assert example.reference["dataset"] == "d"
    return example


def test_several_boxes_stand_under_their_labels_as_on_medmos_model_card():
    truth = boxes((10, 5, 20, 10), (30, 5, 50, 25), (60, 5, 100, 50), labels=("Fracture", "Mass", "Fracture"))
    example = made("grounding", images=IMAGE, boxes=truth)
    assert example.prompt == "Detect and localize all abnormalities in this image."
    # x in 100 pixels is tenfold in thousandths, y in 50 twentyfold; 1000 is written 999.
    assert example.answer == "Fracture <box>[[100, 100, 200, 200], [600, 100, 999, 999]]</box>, " + (
        "Mass <box>[[300, 100, 500, 500]]</box>"
    )
    assert example.reference.labels == ("Fracture", "Mass")
    assert example.reference.label == "Fracture , Mass", "as it is read from a model's answer"
    assert example.box_space == rel1000
    read = Completion(text=example.answer).boxes
    assert read.xyxy.tolist() == [[100, 100, 200, 200], [600, 100, 999, 999], [300, 100, 500, 500]]


def test_a_negative_says_so_and_boxes_without_labels_are_the_target():
    negative = made("grounding", "the_image", images=IMAGE, boxes=boxes(), target="cells")
    assert negative.prompt == "Detect and localize all cells in the image."
    assert (negative.answer, negative.reference.label) == ("No cells <box>[]</box>", "No cells")
    one = made("grounding", images=IMAGE, boxes=boxes((10, 5, 20, 10)), target="cells")
    assert (one.answer, one.reference.labels) == ("cells <box>[[100, 100, 200, 200]]</box>", None)


def test_what_is_described_is_located():
    example = made("referring", images=IMAGE, question="the left nodule", boxes=boxes((10, 5, 20, 10)))
    assert example.prompt == "Locate the left nodule in this image."
    assert example.answer == "the left nodule <box>[[100, 100, 200, 200]]</box>"
    assert example.reference.label == "the left nodule"


def test_closed_is_only_what_is_answered_by_yes_or_no():
    example = made("closed_vqa", images=IMAGE, question="Is it?", answer=" Yes. ")
    assert (example.prompt, example.answer) == ("Is it?\nAnswer with yes or no.", "yes")
    assert example.reference.label == "yes"
    with pytest.raises(ValueError, match=r"no example of the task closed_vqa: its answer is 'left', not yes or no"):
        made("closed_vqa", images=IMAGE, question="Left or right?", answer="left")


def test_open_questions_keep_every_right_answer():
    example = made("open_vqa", "question", images=IMAGE, question="Where?", answer="left", references=("left", "L"))
    assert (example.prompt, example.answer, example.reference.label) == ("Where?", "left", "left")
    assert example.reference["references"] == ("left", "L")
    assert made("text_qa", question="Why?", answer="so").prompt == "Why?"
    with pytest.raises(ValueError, match="no example of the task text_qa: it has an image"):
        made("text_qa", images=IMAGE, question="Why?", answer="so")


@pytest.mark.parametrize("images", [(), IMAGE])
def test_multiple_choice_with_and_without_an_image(images):
    example = made("multiple_choice", images=images, question="Which?", choices=("one", "two"), correct=1)
    assert example.prompt == "Which?\nA. one\nB. two\nAnswer with the option's letter from the given choices directly."
    assert (example.answer, example.reference.label, example.reference.choices) == ("B", "B", ("one", "two"))
    assert example.images == images
    for wrong in (None, -1, 2):
        with pytest.raises(ValueError, match="the right choice is none of the 2"):
            made("multiple_choice", question="Which?", choices=("one", "two"), correct=wrong)


@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        ("captioning", "Describe this CT scan."),
        ("report_generation", "Generate a detailed radiology report for this CT scan."),
        ("summarisation", "All of it.\n\nSummarise these findings as an impression."),
    ],
)
def test_texts_are_reports(task, prompt):
    stated = {
        "images": IMAGE,
        "question": "All of it.",
        "modality": "CT scan",
        "report": "A mass.",
        "columns": {"x": 1},
    }
    example = made(task, references=("A mass.", "Mass."), **stated)
    assert (example.prompt, example.answer, example.reference.report) == (prompt, "A mass.", "A mass.")
    assert example.reference["references"] == ("A mass.", "Mass.")
    assert example.reference["x"] == 1


def test_labels_are_listed_and_none_is_one():
    example = made("classification", images=IMAGE, labels=("Edema", "Mass"), modality="chest X-ray")
    assert example.prompt == "What abnormalities are present in this chest X-ray?"
    assert (example.answer, example.reference.labels) == ("Edema, Mass", ("Edema", "Mass"))
    empty = made("classification", images=IMAGE, labels=())
    assert (empty.answer, empty.reference.labels) == ("none", ("none",))
    with pytest.raises(ValueError, match="classification: it has no labels"):
        made("classification", images=IMAGE)


def test_retrieval_asks_nothing_of_the_text_side():
    example = made("image_text_retrieval", images=IMAGE, report="A mass.", pair="7")
    assert (example.answer, example.reference["pair"], example.reference.report) == (None, "7", "A mass.")
    assert made("image_image_retrieval", images=IMAGE, pair="7").reference.report is None


def test_a_template_is_one_of_the_tasks_or_ones_own():
    task, one = TASKS["open_vqa"], fields(question="{answer}?", answer="a")
    assert task.example(one, template="Q: {question}").prompt == "Q: {answer}?", "what the data say is no template"
    for template, message in {
        "concice": "the task open_vqa has no template 'concice'; did you mean 'concise'",
        "{questoin}": "names {questoin}; did you mean 'question'",
        "{question.__class__}": "names {question.__class__}",
        "{question": "is broken",
    }.items():
        with pytest.raises(ValueError, match=message):
            task.example(one, template=template)


@pytest.mark.parametrize("name", TASKS)
def test_every_template_names_what_there_is(name):
    task = TASKS[name]
    assert task.name == name
    assert task.metrics
    for text in task.templates.values():
        assert {part for _, part, _, _ in string.Formatter().parse(text) if part} <= {
            "question",
            "options",
            "target",
            "modality",
            "boxes",
        }


def audited(name, k):
    """Example k of a task, balanced over k, as data sets are not always; a quarter of the labels is present."""
    rng = np.random.default_rng(k)
    low = rng.uniform(0, [60, 30], (1 if name == "referring" else k % 4, 2))
    rows = np.concatenate([low, low + rng.uniform(5, [35, 20], low.shape)], axis=1)
    kinds = tuple(("Mass", "Nodule")[each] for each in rng.integers(0, 2, len(rows)))
    one = fields(
        images=() if name == "text_qa" else IMAGE,
        question=f"question {k}",
        answer={"closed_vqa": ("yes", "no")[k % 2], "open_vqa": f"word {k % 9}", "text_qa": f"word {k % 9}"}.get(name),
        choices=("w", "x", "y", "z"),
        correct=k % 4,
        labels=tuple(f"label {j}" for j in range(8) if (k + j) % 4 == 0) if name == "classification" else None,
        boxes=boxes(*rows, labels=kinds) if name in ("grounding", "referring") else None,
        report=REPORTS[k % 6],
    )
    return TASKS[name].example(replace(one, id=str(k), block=str(k)))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.reward is not None])
def test_the_default_reward_passes_its_own_audit(name):
    report = audit(parse_reward(TASKS[name].reward), [audited(name, k) for k in range(24)])
    assert report.passed, report.verdict
    assert report.gold > 0.99
