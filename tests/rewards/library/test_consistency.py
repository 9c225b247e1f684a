"""A report against its own boxes: counts, labels, and what is claimed without a box."""

import pytest

from groundrl.rewards import Consistency, parse_reward

ONE, TWO = "<box>[[0,0,9,9]]</box>", "<box>[[0,0,9,9],[20,20,30,30]]</box>"
NONE = "<box>[]</box>"


def labelled(*labels):
    boxes = ", ".join(f'{{"bbox_2d": [0, 0, 9, 9], "label": "{label}"}}' for label in labels)
    return f"[{boxes}]"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (f"Two nuclei, one touching the left border. No mitotic figure. {TWO}", 1),
        (f"Nuclei. {TWO}", 1),
        (f"Three nuclei. {TWO}", 0),
        (f"Two nuclei. {ONE}", 0),
        (f"No nuclei. {NONE}", 1),
        (f"No nuclei. {ONE}", 0),
        (f"One nucleus. {NONE}", 0),
        (f"Possibly a nucleus. {NONE}", 1),
        (f"Possibly a nucleus. {ONE}", 1),
        (f"An empty field. {NONE}", 1),
        (f"An empty field. {ONE}", 0),  # a box that the report does not mention
        ("Two nuclei.", 0),  # nothing to read: a task that asks for boxes needs them
        (f"Two cell nuclei. {labelled('nucleus', 'nuclei')}", 1),
        (f"Two nuclei. {labelled('nucleus', 'dog')}", 0),
    ],
)
def test_a_report_agrees_with_its_boxes(example, text, right):
    assert Consistency(findings=("nucleus",)).explain(text, example()).score.value == right


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (f"Two nodules and one mass. {labelled('nodule', 'mass', 'nodule')}", 1),
        (f"Two nodules and one mass. {labelled('nodule', 'mass', 'mass')}", 0),
        (f"Two nodules, no mass. {labelled('nodule', 'nodule')}", 1),
        (f"Two nodules, no mass. {labelled('nodule', 'nodule', 'mass')}", 0),
        (f"Two nodules. {TWO}", 0),  # boxes without labels cannot be told apart
    ],
)
def test_several_findings(example, text, right):
    assert Consistency(findings=("nodule", "mass")).explain(text, example()).score.value == right


def test_findings_are_checked_and_round_trip():
    reward = Consistency(findings=("platelet",), lexicon={"concepts": {"platelet": {"synonyms": ["platelet"]}}})
    assert repr(parse_reward(repr(reward))) == repr(reward)
    assert reward.fingerprint != Consistency(findings=("nucleus",)).fingerprint
    with pytest.raises(ValueError, match="does not know the finding 'platelet'"):
        Consistency(findings=("platelet",))
    bare = object.__new__(Consistency)  # ("nucleus") for ("nucleus",): here the type checker would stop it first
    vars(bare).update(findings="nucleus")
    with pytest.raises(ValueError, match="a tuple of concepts"):
        bare.__post_init__()
