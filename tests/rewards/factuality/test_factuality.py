"""The reward: its value by hand, what it ranks below the honest report, and how it stands among the others."""

import copy
import json
import pickle

import pytest

from groundrl.rewards import (
    Completion,
    Example,
    Factuality,
    Format,
    Group,
    Reference,
    parse_reward,
    part_statistics,
    score_group,
)

CHEST = "Small left pleural effusion. No pneumothorax. The heart is enlarged."
NUCLEI = "Two nuclei, one touching the left border. No mitotic figure."


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # CHEST: two findings of weight 1, one absent of weight 0.25; 2.25 in all.
        (CHEST, 1.0),
        # side left out: 0.5 + 1 + 0.25 = 1.75 of 2.25 both ways
        ("Pleural effusion. The heart is enlarged. No pneumothorax.", 1.75 / 2.25),
        # precision 0.5 / 1, recall 0.5 / 2.25
        ("Possible left pleural effusion.", 2 * 0.5 * (0.5 / 2.25) / (0.5 + 0.5 / 2.25)),
        # the wrong side matches nothing
        ("Right pleural effusion.", 0.0),
        # precision 1 / 2, recall 1 / 2.25; one contradiction of a reference that weighs 2.25
        ("Left pleural effusion. Pneumothorax.", 2 * 0.5 * (1 / 2.25) / (0.5 + 1 / 2.25) - 1 / 2.25),
        # what is absent earns at most a quarter of what was found
        ("No pneumothorax.", 0.0),
        # absent and not mentioned by the reference: neutral
        (CHEST + " No fracture. The mediastinum is normal.", 1.0),
        # a finding that the reference does not have: precision 2.25 / 3.25
        (CHEST + " Scoliosis.", 2 * (2.25 / 3.25) / (1 + 2.25 / 3.25)),
        ("", 0.0),
        ("The patient was imaged today.", 0.0),
    ],
)
def test_the_value_by_hand(against, text, value):
    if text:
        assert against(CHEST, text).value == pytest.approx(value)
    else:
        assert against(CHEST, text).detail["reason"] == "answer: no_answer"
        assert against(CHEST, text).value == 0.0


@pytest.mark.parametrize(
    "report", [CHEST, NUCLEI, "Mild nonproliferative diabetic retinopathy in the right eye. No macular edema."]
)
def test_known_hacks_rank_below_the_honest_report(against, report):
    honest = against(report, report).value
    findings = [line for line in report.split(". ") if not line.startswith("No ")]
    dropped = report
    for side in ("left ", "right "):
        dropped = dropped.replace(side, "")
    hacks = {
        "empty": "-",
        "hedged": " ".join(
            f"Possible {line}." for line in report.replace("No ", "").replace(", one", ". Possibly one").split(". ")
        ),
        "all normals": "No acute disease. The heart size is normal. "
        "No effusion, pneumothorax, fracture, macular edema or mitotic figure.",
        "everything": "Effusion, pneumothorax, cardiomegaly, fracture, nuclei, mitotic figures, "
        "diabetic retinopathy, macular edema.",
        "side dropped": dropped,
        "negated": " ".join(f"No {line}." for line in findings),
    }
    values = {name: against(report, text).value for name, text in hacks.items()}
    assert honest == 1.0
    assert values["empty"] == 0.0  # RaTEScore gives 0.5
    assert values["all normals"] == 0.0
    assert all(value < 0.8 for value in values.values()), values
    assert against(report, report + " " + report).value == honest


def test_hedging_and_counts_cost(against):
    assert against(NUCLEI, "Possibly two nuclei, one possibly touching the left border. No mitotic figure.").value < 0.6
    two, three, none = (against("Two nuclei.", f"{word}.").value for word in ("Two nuclei", "Three nuclei", "Nuclei"))
    assert (two, three, none) == (1.0, pytest.approx(1 / 3), 0.5)
    assert against("Two nuclei.", "Five nuclei.").value == pytest.approx(0.2)  # 0.5 * 2 / 5


def test_flipped_sides_are_contradictions(against):
    for wrong in ("right", "top", "bottom"):
        score = against(NUCLEI, NUCLEI.replace("left", wrong))
        assert score.value < 0.7
        assert score.parts["contradictions"].value == (wrong == "right")  # left for top is wrong, but no flip


def test_normals_are_not_farmed(against):
    """Fifty right statements of what is absent do not pay for one missed finding."""
    absent = [
        "pneumothorax",
        "fracture",
        "emphysema",
        "hernia",
        "mass",
        "nodule",
        "edema",
        "fibrosis",
        "ascites",
        "pneumonia",
    ]
    report = "Left pleural effusion. " + " ".join(f"No {name}." for name in absent)
    assert against(report, report).value == 1.0
    assert against(report, " ".join(f"No {name}." for name in absent)).value == 0.0
    found = against(report, "Left pleural effusion.").value
    assert found == pytest.approx(2 * 0.8 / 1.8)  # 1 of 1 + 0.25, since all that is absent weighs 0.25 together


def test_when_it_abstains(against):
    assert against(None, CHEST).status == "abstain"
    assert against("The patient was imaged.", "Nothing to say.").status == "abstain"
    assert against("The patient was imaged.", "No effusion.").status == "abstain"
    invented = against("The patient was imaged.", "Effusion.")
    assert (invented.value, invented.parts["false_positives"].value) == (0.0, 1.0)


def test_an_answer_that_contradicts_itself_pays_for_it(against):
    both = against("Left effusion.", "Left effusion. No effusion.")
    assert both.parts["contradictions"].value == 1.0
    assert both.value == 0.0
    clash = against("Consolidation. Cardiomegaly.", "Consolidation. Cardiomegaly. The lungs are clear.")
    assert clash.parts["inconsistencies"].detail["facts"] == ["exclusive: clear_lungs / consolidation"]
    assert clash.value < 0.5


def test_what_the_reference_does_itself_is_excused(against):
    report = "Left effusion. No effusion. The lungs are clear. Consolidation."
    assert against(report, report).value == 1.0


def test_what_is_implied_is_neither_extra_nor_deniable(against):
    assert against("Right pneumonia.", "Right pneumonia with opacity.").value == 1.0
    assert against("Right pneumonia.", "Right pneumonia. No opacity.").parts["contradictions"].value == 1.0


def test_only_the_answer_counts_and_spans_are_those_of_the_completion(against):
    text = "<think>No effusion.</think><answer>Left effusion, no\npneumothorax.</answer>"
    score = against(CHEST, text)
    spans = score.parts["true_positives"].detail["spans"]
    assert sorted(text[start:end] for start, end in spans) == ["effusion", "pneumothorax"]
    missed = score.parts["misses"].detail
    assert [CHEST[start:end] for start, end in missed["reference_spans"]] == ["heart is enlarged"]


def test_boxes_are_not_read_as_text(example):
    task = example([[1, 2, 3, 4]], report="One nucleus.")
    assert Factuality().explain("One nucleus <box>[[1, 2, 3, 4]]</box>", task).score.value == 1.0
    unreadable = Factuality().explain("One nucleus <box>[[1, 2", task).score
    assert (unreadable.value, unreadable.detail["reason"]) == (0.0, "boxes: truncated")


def test_every_score_has_the_same_parts_and_they_stay_out_of_the_metrics(against):
    scores = [against(CHEST, CHEST), against(None, "x"), against(CHEST, "<answer>"), against("x", "Effusion.")]
    assert len({tuple(score.parts) for score in scores}) == 1
    total = 0.5 * Factuality() + 0.5 * Format()
    example = Example(id="e", prompt="p", reference=Reference(report=CHEST))
    group = Group(example=example, completions=(Completion(text=CHEST), Completion(text="No effusion.")))
    statistics = part_statistics([score_group(total, group)], total)
    assert set(statistics) == {"factuality", "format"}
    assert statistics["factuality"]["mean"] == 0.5


def test_it_round_trips_pickles_and_is_named(tmp_path):
    mine = {"concepts": {"cell": {"synonyms": ["cell"], "countable": True}}}
    reward = Factuality(lexicon=mine, absent_weight=0.1).named("report")
    again = parse_reward(repr(reward))
    task = Example(id="e", prompt="p", reference=Reference(report="Two cells."))
    for same in (again, pickle.loads(pickle.dumps(reward)), copy.deepcopy(reward)):
        assert repr(same) == repr(reward)
        assert same.fingerprint == reward.fingerprint
        assert same.explain("Two cells.", task).score.value == 1.0
    assert Factuality().fingerprint != reward.fingerprint


def test_the_fingerprint_knows_the_words_in_a_file(tmp_path):
    file = tmp_path / "mine.json"
    prints = []
    for word in ("cell", "platelet"):
        file.write_text(json.dumps({"concepts": {"cell": {"synonyms": [word]}}}))
        prints.append(Factuality(lexicon=str(file)).fingerprint)
    assert prints[0] != prints[1]


@pytest.mark.parametrize(
    "parameters",
    [
        {"absent_weight": 1.5},
        {"absent_weight": float("nan")},
        {"contradiction_cost": -1.0},
        {"inconsistency_cost": 11.0},
    ],
)
def test_bounds(parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        Factuality(**parameters)
