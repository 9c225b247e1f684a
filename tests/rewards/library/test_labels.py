"""What an answer says in words, mode by mode."""

import pytest

from groundrl.rewards import Completion, Consistency, LabelAccuracy, Mentions


def value(reward, text, example):
    return reward.score(Completion(text=text), example).value


@pytest.mark.parametrize(
    ("said", "right"),
    [("3 nuclei", 1), (" 3  Nuclei. ", 1), ("3\nnuclei:", 1), ("13 nuclei", 0), ("3 nuclei or 4", 0), ("nuclei", 0)],
)
def test_exact(example, said, right):
    assert value(LabelAccuracy(), said, example(label="3 nuclei")) == right


def test_exact_needs_the_boxes_where_the_reference_has_them(example):
    task = example([[0, 0, 1, 1]], label="1 cell")
    assert value(LabelAccuracy(), "1 cell <box>[[5, 5, 9, 9]]</box>", task) == 1
    assert value(LabelAccuracy(), "1 cell", task) == 0


def test_multi_label_is_f1_of_the_sets(example):
    task, reward = (
        example(labels=("edema", "effusion")),
        LabelAccuracy(mode="multi_label", synonyms={"edema": ("oedema",)}),
    )
    assert value(reward, "Oedema and effusion", task) == 1.0
    assert value(reward, "effusion, effusion; effusion", task) == pytest.approx(2 / 3)
    assert value(reward, "edema, mass, nodule, effusion", task) == pytest.approx(4 / 6)
    assert value(reward, "sandedema", task) == 0.0


@pytest.mark.parametrize("truth", ["B", "MRI", "b) mri"])
@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("B", 1), ("b.", 1), ("(B)", 1), ("B) MRI", 1), ("B: MRI", 1), ("MRI", 1), ("mri.", 1), ("The answer is B", 1),
        ("Answer: (B)", 1), ("option b", 1), ("B MRI", 1), ("A", 0), ("A) MRI", 0), ("B) CT", 0), ("A or B", 0),
        ("B and A", 0), ("MRI CT", 0), ("Because", 0), ("A CT scan", 0), ("E", 0), ("", 0),
    ],
)  # fmt: skip
def test_choice(example, truth, said, right):
    task = example(label=truth, choices=("CT", "MRI", "PET"))
    assert value(LabelAccuracy(mode="choice"), said or "<think></think>", task) == right


def test_a_question_without_choices_is_left_out(example):
    score = LabelAccuracy(mode="choice").score(Completion(text="A"), example(label="12.5"))
    assert (score.value, score.status, score.detail["reason"]) == (None, "abstain", "the reference has no choices")


@pytest.mark.parametrize("truth", ["heart", "yes or no", ""])
def test_a_reference_that_is_not_yes_or_no_is_the_users_error(example, truth):
    with pytest.raises(ValueError, match=rf"'e1': the reference's label '{truth}' is not yes or no"):
        value(LabelAccuracy(mode="yes_no"), "yes", example(label=truth))


def test_a_reference_that_is_none_of_its_choices_is_the_users_error(example):
    with pytest.raises(ValueError, match=r"'e1': .* is none of the choices"):
        value(LabelAccuracy(mode="choice"), "A", example(label="X-ray", choices=("CT", "MRI")))


@pytest.mark.parametrize(
    ("said", "truth", "right"),
    [
        ("No.", "no", 1), ("Yes, it is", "yes", 1), ("It is abnormal", "no", 0), ("unknown", "no", 0),
        ("yesterday", "yes", 0), ("yes and no", "yes", 0), ("nope", "no", 0), ("yes yes", "yes", 1), ("nein", "no", 0),
    ],
)  # fmt: skip
def test_yes_no_reads_whole_words(example, said, truth, right):
    assert value(LabelAccuracy(mode="yes_no"), said, example(label=truth)) == right


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("3.1 cm", 1),
        ("3", 1),
        ("2.8", 0),
        ("about 3.1", 1),
        ("3 to 4", 0),
        ("three", 0),
        ("-3", 0),
        ("v3", 0),
        ("3.1.2", 0),
    ],
)
def test_number_is_the_only_one_within_tolerance(example, said, right):
    assert value(LabelAccuracy(mode="number", tolerance=0.2), said, example(label="3.0 cm")) == right


def test_synonyms_are_data(example):
    reward = LabelAccuracy(synonyms={"pneumonia": ("lung infection", "pneumonitis")})
    assert value(reward, "Lung infection.", example(label="Pneumonia")) == 1
    assert value(reward, "pneumonia", example(label="pneumonitis")) == 1
    assert value(reward, "lung", example(label="Pneumonia")) == 0


def test_settings_are_checked_and_nothing_to_compare_abstains(example):
    with pytest.raises(ValueError, match="no mode 'fuzzy'"):
        LabelAccuracy(mode="fuzzy")
    with pytest.raises(ValueError, match="tolerance"):
        LabelAccuracy(tolerance=-1.0)
    assert LabelAccuracy().score(Completion(text="x"), example()).status == "abstain"


def test_mentions_whole_words(example):
    task = example(columns={"modality": "CT scan"})
    assert value(Mentions(column="modality"), "a ct  scan of the chest", task) == 1
    assert value(Mentions(column="modality"), "direct scans", task) == 0
    assert Mentions(column="other").score(Completion(text="x"), task).status == "abstain"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("2 cells <box>[[0,0,1,1],[2,2,3,3]]</box>", 1),
        ("Two cells <box>[[0,0,1,1],[2,2,3,3]]</box>", 1),
        ("0 cells <box>[]</box>", 1),
        ("3 cells <box>[[0,0,1,1]]</box>", 0),
        ("1 or 2 cells <box>[[0,0,1,1]]</box>", 0),
        ("cells <box>[[0,0,1,1]]</box>", 0),
        ("12 cells <box>[[0,0,1,1],[2,2,3,3]]</box>", 0),
        ("1 cell", 0),
        ('1 cell [{"bbox_2d": [0,0,1,1], "label": "cell"}]', 1),
        ('1 cell [{"bbox_2d": [0,0,1,1], "label": "dog"}]', 0),
    ],
)
def test_consistency_of_count_and_labels_with_the_boxes(example, text, right):
    assert value(Consistency(), text, example()) == right


def test_a_number_at_the_tolerance_is_right(example):
    reward = LabelAccuracy(mode="number", tolerance=0.5)
    assert [value(reward, said, example(label="2")) for said in ("2.5", "1.5", "2.51")] == [1.0, 1.0, 0.0]


def test_no_label_said_where_there_is_none_is_right(example):
    reward = LabelAccuracy(mode="multi_label")
    assert [value(reward, said, example(labels=())) for said in (", ;", "mass")] == [1.0, 0.0]
