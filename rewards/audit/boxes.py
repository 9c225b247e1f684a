"""Policies for boxes: enumeration, size, position and number without a look, and true boxes spoiled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from groundrl.rewards.audit.attack import Attack, needs_boxes
from groundrl.rewards.audit.audit_task import AuditTask

WHOLE = np.array([[0.0, 0.0, 1.0, 1.0]])
CENTRE = np.array([[0.25, 0.25, 0.75, 0.75]])
NONE = np.zeros((0, 4))
FALSE_BOXES = 10
COPIES = 5
RANDOM_SIDE = (0.1, 0.5)  # shares of the image's side


def grid(n: int, *, size: float = 1.0) -> Float[np.ndarray, "N 4"]:
    """The `n * n` tiles of the image in reading order, each `size` times as wide and high, cut to the image."""
    centres = (np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2) + 0.5) / n
    half = size / (2 * n)
    boxes: Float[np.ndarray, "N 4"] = np.clip(np.concatenate([centres - half, centres + half], axis=1), 0.0, 1.0)
    return boxes


def random_boxes(rng: np.random.Generator, count: int) -> Float[np.ndarray, "N 4"]:
    """So many boxes anywhere inside the image, in shares of it."""
    side = rng.uniform(*RANDOM_SIDE, (count, 2))
    corner = rng.uniform(0.0, 1.0, (count, 2)) * (1.0 - side)
    return np.concatenate([corner, corner + side], axis=1)


def fixed(unit: Float[np.ndarray, "N 4"]) -> Callable[[AuditTask, int], str | None]:
    """The same boxes for every image."""
    return lambda task, index: task.blind(index, unit)


def counted(boxes: Callable[[np.random.Generator, int], np.ndarray]) -> Callable[[AuditTask, int], str | None]:
    """As many boxes as there are true ones."""

    def answer(task: AuditTask, index: int) -> str | None:
        truth = task.truth[index]
        return None if truth is None else task.blind(index, boxes(task.rng(index, 2), len(truth)))

    return answer


def repeated(task: AuditTask, index: int) -> str | None:
    """Each true box several times; None where there is none."""
    truth = task.truth[index]
    if truth is None or not len(truth):
        return None
    indices = np.repeat(np.arange(len(truth)), COPIES)
    return task.drafts[index].with_boxes(truth[indices], task.labels_of(index, indices))


def with_false_boxes(task: AuditTask, index: int) -> str | None:
    """The true boxes, then false ones; None where there is no true one: false boxes alone are no gold answer."""
    truth = task.truth[index]
    if truth is None or not len(truth):
        return None
    false = random_boxes(task.rng(index, 3), FALSE_BOXES) * task.scale(index)
    indices = np.concatenate([np.arange(len(truth)), np.full(FALSE_BOXES, -1)])
    return task.drafts[index].with_boxes(np.concatenate([truth, false]), task.labels_of(index, indices))


def moved(task: AuditTask, index: int, noise: float) -> str | None:
    """The gold answer with each box moved by `noise` times its width and height, towards the roomier side."""
    truth = task.truth[index]
    if truth is None:
        return None
    size = truth[:, 2:] - truth[:, :2]
    before, behind = truth[:, :2], task.scale(index)[:2] - truth[:, 2:]
    step = np.where(behind >= before, size, -size) * noise
    return task.drafts[index].with_boxes(truth + np.tile(step, 2), task.drafts[index].labels)


def without_boxes(task: AuditTask, index: int) -> str | None:
    """The gold answer with its boxes left out."""
    return None if task.truth[index] is None else task.drafts[index].with_boxes(NONE, None)


_COMMON = "in the frame of the commonest answer"

POLICIES = (
    Attack(name="no boxes", does=f"an empty list {_COMMON}", kind="blind", unfit=needs_boxes, answer=fixed(NONE)),
    Attack(
        name="whole image",
        does=f"one box around the whole image {_COMMON}",
        kind="blind",
        unfit=needs_boxes,
        answer=fixed(WHOLE),
    ),
    Attack(
        name="whole image for each box",
        does="the whole image as often as there are true boxes",
        kind="count",
        unfit=needs_boxes,
        answer=counted(lambda rng, count: np.repeat(WHOLE, count, axis=0)),
    ),
    Attack(
        name="centre box",
        does=f"one box of half the image's width and height in its middle {_COMMON}",
        kind="blind",
        unfit=needs_boxes,
        answer=fixed(CENTRE),
    ),
    Attack(
        name="random boxes",
        does="random boxes, as many as there are true ones",
        kind="count",
        unfit=needs_boxes,
        answer=counted(random_boxes),
    ),
    *(
        Attack(
            name=f"{n}x{n} grid",
            does=f"the {n * n} tiles of the image {_COMMON}",
            kind="blind",
            unfit=needs_boxes,
            answer=fixed(grid(n)),
            excess=True,
        )
        for n in (5, 10)
    ),
    Attack(
        name="every true box five times",
        does="the gold answer with each of its boxes five times",
        kind="truth",
        unfit=needs_boxes,
        answer=repeated,
        rule="cost",
        touches="boxes",
        excess=True,
    ),
    Attack(
        name="gold plus ten false boxes",
        does="the gold answer with ten random boxes after its own",
        kind="truth",
        unfit=needs_boxes,
        answer=with_false_boxes,
        rule="cost",
        touches="boxes",
        excess=True,
    ),
)
