"""The report task: what a report says is what the mask shows."""

import numpy as np
import pytest

from groundrl.experiments.data import NucleiCrops, RenderedCells
from groundrl.experiments.data.shipped.crops import load_image, mitotic_figures
from groundrl.experiments.data.shipped.reports import report_example, report_text
from groundrl.experiments.data.shipped.scene import Scene

FIRST = {"No": 0, "One": 1, "Two": 2, "Three": 3, "Four": 4}


def scene(*boxes, mitotic=0):
    """A picture 64 wide and 32 high."""
    picture = np.zeros((32, 64), dtype=np.uint8)
    return Scene(id="a", picture=picture, boxes=np.array(boxes, dtype=float).reshape(-1, 4), mitotic=mitotic, block="b")


@pytest.mark.parametrize(
    ("shown", "report"),
    [
        (scene(), "No nuclei. No mitotic figure."),
        (scene([1, 1, 63, 31]), "One nucleus. No mitotic figure."),
        (
            scene([0, 1, 63, 32]),
            "One nucleus, touching the left border, touching the bottom border. No mitotic figure.",
        ),
        (
            scene([0, 1, 9, 9], [60, 0, 64, 9], [30, 0, 35, 9], mitotic=2),
            "Three nuclei, one touching the left border, one touching the right border, two touching the top border. "
            "Two mitotic figures.",
        ),
        (scene(*[[1, 1, 9, 9]] * 5, mitotic=1), "5 nuclei. One mitotic figure."),
    ],
)
def test_reports_by_hand(shown, report):
    assert report_text(shown) == report


def test_the_gold_answer_is_the_report_and_its_boxes():
    example = report_example(scene([16, 8, 32, 16]))
    assert example.answer == "One nucleus. No mitotic figure. <box>[[250, 250, 500, 500]]</box>"
    assert example.reference.report == "One nucleus. No mitotic figure."
    assert example.prompt == "Write a report of the image."


def test_eight_nuclei_of_the_image_are_mitotic_figures_by_a_wide_gap():
    picture, mask = load_image()
    means = {i: picture[mask == i].mean() for i in range(1, mask.max() + 1) if (mask == i).any()}
    assert len(mitotic_figures()) == 8
    assert min(means[i] for i in mitotic_figures()) > 150
    assert max(mean for i, mean in means.items() if i not in mitotic_figures()) < 110


@pytest.mark.parametrize("source", [NucleiCrops("train", task=report_example), RenderedCells(task=report_example)])
def test_reports_agree_with_the_pictures(source):
    """Counts as the index says; a claimed border shows something bright, and mitotic figures are the brightest."""
    mitotic = []
    for index in range(40):
        example = source[index]
        report = example.reference.report
        assert FIRST[report.split()[0]] == index % 5 == len(example.reference.boxes)
        x1, y1, x2, y2 = example.reference.boxes.xyxy.T
        for side, touches in {"left": x1 == 0, "right": x2 == 64, "top": y1 == 0, "bottom": y2 == 64}.items():
            assert (f"touching the {side} border" in report) == touches.any()
        mitotic.append("No mitotic figure." not in report)
    assert 0 < sum(mitotic) < 20
