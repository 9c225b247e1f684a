"""Scenes of 0 to 4 boxes in the shipped answer format, without images: rewards see text and truth alone."""

from collections.abc import Callable

import numpy as np
import pytest

from groundrl.rewards import Boxes, Example, Reference, rel1000


def scene(index: int, count: int, rng: np.random.Generator) -> Example:
    """`count` boxes of 10 to 30 % of the side, in whole thousandths, in a block of five examples."""
    size = rng.integers(100, 300, (count, 2))
    corner = (rng.uniform(0, 1, (count, 2)) * (999 - size)).astype(int)
    boxes = np.hstack([corner, corner + size])
    written = ", ".join("[" + ", ".join(f"{value:03d}" for value in box) + "]" for box in boxes.tolist())
    label = f"{count} {'nucleus' if count == 1 else 'nuclei'}"
    return Example(
        id=f"s{index}",
        prompt="Detect the nuclei.",
        answer=f"{label} <box>[{written}]</box>",
        reference=Reference(label=label, boxes=Boxes(xyxy=boxes.astype(float), space=rel1000)),
        block=f"b{index // 5}",
    )


@pytest.fixture(scope="session")
def scenes() -> Callable[..., list[Example]]:
    """`scenes(number, counts=...)`: examples whose numbers of boxes go round `counts`."""

    def make(number: int = 100, counts: tuple[int, ...] = (0, 1, 2, 3, 4)) -> list[Example]:
        rng = np.random.default_rng(7)
        return [scene(index, counts[index % len(counts)], rng) for index in range(number)]

    return make


@pytest.fixture(scope="session")
def few(scenes) -> list[Example]:
    return scenes(15)


@pytest.fixture(scope="session")
def questions() -> list[Example]:
    """Yes-or-no questions, half of each answer."""
    return [
        Example(
            id=f"q{index}",
            prompt=f"Is there a mass in image {index}?",
            answer=answer,
            reference=Reference(label=answer),
            block=f"b{index // 2}",
        )
        for index in range(80)
        for answer in [("yes", "no")[index // 2 % 2]]
    ]


FINDINGS = ("effusion", "nodule", "fracture", "opacity", "pneumothorax")


@pytest.fixture(scope="session")
def reports() -> list[Example]:
    """Two findings each with a side, and one that is absent."""
    rng = np.random.default_rng(3)
    made = []
    for index in range(80):
        first, second, absent = rng.choice(FINDINGS, 3, replace=False).tolist()
        sides = rng.choice(["Left", "Right"], 2).tolist()
        report = f"{sides[0]} {first} of the chest. {sides[1]} sided {second}. No {absent} is seen."
        made.append(Example(id=f"r{index}", prompt="Write the report.", reference=Reference(report=report)))
    return made
