"""What must not matter: the order of examples, each of them twice, blanks around an answer; for every metric."""

import numpy as np
import pytest

from groundrl.experiments.metrics import METRICS, Answered, Tools
from groundrl.experiments.metrics.figures import lacks
from groundrl.rewards import Boxes, Completion, Example, Reference, rel1000

SAID = [
    "left lung",
    "B. two nuclei",
    "yes",
    "Pleural effusion. No pneumothorax. The heart is normal.",
    "edema, mass",
    "2 nuclei <box>[[0, 0, 100, 100], [200, 200, 300, 290]]</box>",
    "<box>[[0, 0, 100, 60]]</box>",
    "nothing of the kind",
]


def example(place: int) -> Example:
    truth = Boxes(xyxy=np.array([[0, 0, 100, 100], [210, 200, 300, 300]], dtype=float), space=rel1000)
    references = [
        Reference(label="left lung"),
        Reference(label="B", choices=("one nucleus", "two nuclei")),
        Reference(label="no"),
        Reference(report="Left pleural effusion. The heart is normal in size."),
        Reference(labels=("edema", "fracture")),
        Reference(boxes=truth),
        Reference(boxes=truth),
        Reference(report="Small effusion."),
    ]
    return Example(id=str(place), prompt="?", reference=references[place])


def answers(texts, order=tuple(range(8))):
    return [Answered(example=example(place), completion=Completion(text=texts[place])) for place in order]


def figure(name, answered, tools):
    statistics = METRICS[name].statistics(answered, tools)
    return METRICS[name].figure(statistics[~np.isnan(statistics).any(axis=1)].sum(axis=0))


WITHOUT_TOOLS = [name for name, metric in METRICS.items() if metric.needs is None and not name.startswith("recall")]


@pytest.mark.parametrize("name", WITHOUT_TOOLS)
def test_order_duplicates_and_blanks_change_nothing(name):
    tools = Tools()
    plain = figure(name, answers(SAID), tools)
    assert np.isfinite(plain), "at least one example is of its kind"
    assert figure(name, answers(SAID, [7, 2, 5, 0, 1, 6, 3, 4]), tools) == pytest.approx(plain, abs=1e-12)
    if name != "cider":  # a word of no reference weighs the log of their number
        assert figure(name, answers(SAID) + answers(SAID), tools) == pytest.approx(plain, abs=1e-12)
    if name.startswith("medevalkit"):
        return  # its rule is what it is: blanks around "yes" make another string
    padded = [f"\n  {text.replace(' ', '  ')} \n\n" for text in SAID]
    assert figure(name, answers(padded), tools) == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize("name", ["iou_of_true_boxes", "soft_f1", "f1_50"])
def test_the_order_of_boxes_changes_nothing(name):
    turned = list(SAID)
    turned[5] = "2 nuclei <box>[[200, 200, 300, 290], [0, 0, 100, 100]]</box>"
    assert figure(name, answers(turned), Tools()) == pytest.approx(figure(name, answers(SAID), Tools()))


@pytest.mark.parametrize("name", ["label_precision", "label_recall", "label_f1", "label_f1_macro"])
def test_the_order_of_labels_and_saying_one_twice_change_nothing(name):
    turned = list(SAID)
    turned[4] = "mass and edema, Edema"
    assert figure(name, answers(turned), Tools()) == figure(name, answers(SAID), Tools())


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_says_what_it_is_and_stays_in_its_range(name):
    metric = METRICS[name]
    assert len(metric.definition.split()) > 3
    assert metric.range[0] < metric.range[1]
    if name in WITHOUT_TOOLS:
        assert metric.range[0] <= figure(name, answers(SAID), Tools()) <= metric.range[1]


@pytest.mark.parametrize("name", [name for name in WITHOUT_TOOLS if METRICS[name].reads])
def test_a_metric_needs_what_it_says_that_it_reads(name):
    """Without those fields it applies to nothing; so each of its answers has numbers only where one is there."""
    numbers = [METRICS[name].statistics(answers(SAID, [place]), Tools()) for place in range(len(SAID))]
    applies = [place for place, found in enumerate(numbers) if np.isfinite(found).all()]
    assert applies
    assert not [place for place in applies if lacks(METRICS[name], [example(place)])]


def test_every_metric_says_what_it_reads_but_those_of_an_answer_alone():
    silent = {name for name, metric in METRICS.items() if not metric.reads}
    assert silent == {"format_rate", "completion_length", "judge"}
