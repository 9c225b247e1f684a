"""The report task of the shipped pictures: a short report whose facts are read off the mask, then the boxes."""

from __future__ import annotations

from dataclasses import replace

from groundrl.experiments.data.shipped.scene import Scene
from groundrl.experiments.tasks.grounding import WRITTEN
from groundrl.experiments.tasks.report_generation import REPORT_GENERATION
from groundrl.rewards import Example

NUMBERS = ("no", "one", "two", "three", "four")
SIDES = ("left", "right", "top", "bottom")


def report_example(scene: Scene) -> Example:
    """Gold answer: `Two nuclei, one touching the left border. No mitotic figure. <box>[[...], [...]]</box>`."""
    report = report_text(scene)
    answer = f"{report} {WRITTEN.gold(scene.truth)}"
    example = REPORT_GENERATION.example(scene.fields(report=report, answer=answer), template="plain")
    return replace(example, id=f"report/{scene.id}")


def report_text(scene: Scene) -> str:
    """How many nuclei, how many of them touch which border of the picture, and how many are mitotic figures."""
    single = len(scene.boxes) == 1
    count = f"{number(len(scene.boxes))} {'nucleus' if single else 'nuclei'}"
    touching = [
        ("" if single else f"{number(k)} ") + f"touching the {side} border"
        for side, k in touching_borders(scene).items()
        if k
    ]
    mitotic = f"{number(scene.mitotic)} mitotic figure{'s' if scene.mitotic > 1 else ''}"
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in (", ".join([count, *touching]), mitotic))


def touching_borders(scene: Scene) -> dict[str, int]:
    """Side -> how many boxes reach it."""
    height, width = scene.picture.shape
    x1, y1, x2, y2 = scene.boxes.T
    return dict(zip(SIDES, (int(k.sum()) for k in (x1 <= 0, x2 >= width, y1 <= 0, y2 >= height)), strict=True))


def number(count: int) -> str:
    """A count in words up to four, in digits beyond."""
    return NUMBERS[count] if count < len(NUMBERS) else str(count)
