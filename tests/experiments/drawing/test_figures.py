"""Figures show what is recorded: smoothing by hand, boxes where they are, panels with the recorded numbers."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from groundrl.experiments.data import NucleiCrops
from groundrl.experiments.drawing.boxes import draw_boxes
from groundrl.experiments.drawing.curves import draw_curves, stages_figure
from groundrl.experiments.drawing.series import smooth
from groundrl.experiments.runs.figures import before_and_after
from groundrl.rewards import Completion


def test_smoothing_is_a_centred_mean_over_fewer_steps_at_the_ends():
    assert smooth([1.0, 2.0, 3.0, 10.0], width=3).tolist() == [1.5, 2.0, 5.0, 6.5]
    assert smooth([1.0, np.nan, 3.0], width=3).tolist() == [1.0, 2.0, 3.0]


def test_boxes_are_drawn_in_pixels_of_the_image():
    example = NucleiCrops("test")[1]
    figure, axes = plt.subplots()
    draw_boxes(axes, example, Completion(text="1 nucleus <box>[[250, 500, 500, 1000]]</box>"), "title")
    true, predicted = [patch.get_bbox().extents.tolist() for patch in axes.patches]
    assert true == example.reference.boxes.xyxy[0].tolist()
    assert predicted == [16.0, 32.0, 32.0, 64.0]
    assert axes.get_ylim() == (64, 0)  # the image's origin is at the top
    plt.close(figure)


def test_an_answer_without_boxes_shows_the_truth_alone():
    example = NucleiCrops("test")[1]
    figure, axes = plt.subplots()
    draw_boxes(axes, example, Completion(text="<box>[[1, 2"), "title")
    assert len(axes.patches) == 1
    plt.close(figure)


def test_curves_hold_the_recorded_numbers_and_the_test_points(small_run):
    figure = small_run.curves()
    panels = {axes.get_title(): axes for axes in figure.axes}
    assert set(panels) >= {"SFT loss", "reward and its parts", "IoU", "groups of a step", "completion length (tokens)"}
    rl = [row for row in small_run.metrics if row["stage"] == "rl"]
    labels = [line.get_label() for line in panels["reward and its parts"].lines]
    assert {"total", "box", "label", "format"} <= set(labels)
    raw = panels["reward and its parts"].lines[1].get_ydata()
    assert list(raw) == pytest.approx([row["reward/mean"] for row in rl])
    points = next(line for line in panels["IoU"].lines if line.get_label() == "test, greedy")
    stages = small_run.evaluation["stages"]
    assert list(points.get_ydata()) == pytest.approx([stages[name]["iou_mean_greedy"] for name in ("sft", "rl")])
    assert list(points.get_xdata()) == [2, 4]
    plt.close(figure)


def test_a_run_with_nothing_recorded_says_so():
    figure = plt.figure()
    draw_curves(figure, [], {})
    assert all("nothing recorded" in axes.texts[0].get_text() for axes in figure.axes)
    plt.close(figure)


def test_pairs_are_the_same_examples_before_and_after(small_run):
    pairs = before_and_after(small_run.folder)
    assert len(pairs) == 8
    for example, answers in pairs:
        assert [stage for stage, _, _ in answers] == ["sft", "rl"]
        assert example.id.startswith("nuclei/test/")


def test_the_stages_of_a_run_in_one_figure():
    """Three stages, one of them without blocks to resample: its points stand without bars."""
    content = {
        "num_examples": 7,
        "stages": {stage: {"iou_mean": 0.25 * k, "iou_mean_greedy": 0.5} for k, stage in enumerate(("a", "b", "c"))},
        "ci95": {
            stage: {"iou_mean": [0.0, 1.0], "iou_mean_greedy": [None, None] if stage == "b" else [0.25, 0.75]}
            for stage in ("a", "b", "c")
        },
    }
    (axes,) = stages_figure(content).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["after a", "after b", "after c"]
    sampled, greedy = axes.containers
    assert list(sampled.lines[0].get_ydata()) == [0.0, 0.25, 0.5]
    (bars,) = greedy.lines[2]
    assert [[y for _, y in segment] for segment in bars.get_segments()] == [[0.25, 0.75], [0.5, 0.5], [0.25, 0.75]]
