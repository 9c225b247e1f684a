"""What a policy may know of the task without looking at an image: the form of its answers and what is common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from groundrl.rewards.boxes.drafts import Draft, default_style, take_apart
from groundrl.rewards.boxes.formats import BoxFormat
from groundrl.rewards.boxes.spaces import Boxes, BoxSpace
from groundrl.rewards.core.glossary import Example, as_messages
from groundrl.rewards.library.labels import normalised


class AuditTask:
    """The audited examples with their gold answers taken apart.

    `truth[i]` are the true boxes `[G, 4]` in the example's `box_space`, as its gold answer states them, else the
    reference's; None where the example has none to give. `fit` and `held` are the examples of two halves of the blocks.
    ValueError for an example without a gold answer, and with nothing in its reference to write one from.
    """

    def __init__(self, examples: Sequence[Example], *, seed: int) -> None:
        self.examples = tuple(examples)
        self.seed = seed
        golds = [gold_text(example) for example in self.examples]
        asked = [example.reference.boxes is not None for example in self.examples]
        drafts = [
            take_apart(gold, boxes=boxes, default=None, format=example.box_space.format)
            for gold, boxes, example in zip(golds, asked, self.examples, strict=True)
        ]
        common = _common_style(drafts) or default_style(self.examples[0].box_space)
        self.drafts = tuple(_in_style(draft, gold, common) for draft, gold in zip(drafts, golds, strict=True))
        self.golds = tuple(golds)
        self.truth = tuple(map(_truth, self.examples, self.drafts))
        self.blocks = tuple(example.block or example.id for example in self.examples)
        self.fit, self.held = _halves(self.blocks, seed)
        self.words = most_common([draft.words for draft in self.drafts])
        self.box_label = most_common([label for draft in self.drafts for label in draft.labels or ()])
        self.frame = self._frame()
        self._blind: dict[tuple[bytes, str | None, BoxSpace], str] = {}
        self.labels = _labels(self.examples)
        self.has_boxes = any(asked)
        self.has_reports = any(example.reference.report is not None for example in self.examples)

    def rng(self, index: int, stream: int) -> np.random.Generator:
        """Randomness of one example in one policy; no state is shared with anything."""
        return np.random.default_rng([self.seed, stream, index])

    def scale(self, index: int) -> Float[np.ndarray, "4"]:
        """The image's size in the example's box space."""
        space = self.examples[index].box_space
        return np.array([space.width, space.height] * 2, dtype=float)

    def blind(self, index: int, unit: Float[np.ndarray, "N 4"], words: str | None = None) -> str | None:
        """Boxes given in shares of the image, in the frame of the commonest answer; None where none are asked for."""
        if self.truth[index] is None or self.frame.style is None:
            return None
        key = (unit.tobytes(), words, self.examples[index].box_space)
        if key not in self._blind:  # the same text for all examples of one space
            frame = self.frame if words is None or not self.frame.words else self.frame.saying(words)
            labels = (self.box_label,) * len(unit) if self.box_label else None
            self._blind[key] = frame.with_boxes(unit * self.scale(index), labels)
        return self._blind[key]

    def labels_of(self, index: int, places: Int[np.ndarray, " N"]) -> list[str] | None:
        """The labels that the gold answer gives to its boxes of these places; false boxes (-1) take its first."""
        own = self.drafts[index].labels
        if own is None:
            return None
        return [own[place] if place >= 0 else own[0] for place in places.tolist()]

    def _frame(self) -> Draft:
        """The commonest answer: of those with the commonest words, the first, one that states boxes if there is one."""
        same = [draft for draft in self.drafts if normalised(draft.words) == normalised(self.words)]
        asked = [draft for draft in same if draft.style is not None]
        stated = [draft for draft in asked if draft.boxes is not None]
        whole = [draft for draft in self.drafts if draft.boxes is not None]
        return (stated or whole or asked or same)[0]


def has_gold(example: Example) -> bool:
    """Whether an example has a gold answer, or something in its reference to write one from."""
    reference = example.reference
    stated = (example.answer, reference.boxes, reference.label, reference.labels, reference.report)
    return any(each is not None for each in stated)


def gold_text(example: Example) -> str:
    """The example's gold answer, else one written from its reference. ValueError where there is nothing to write."""
    if not has_gold(example):
        raise ValueError(f"example {example.id!r} has no `answer`, and its reference has nothing to write one from")
    if example.answer is not None:
        return example.answer
    reference = example.reference
    words = reference.report or reference.label or ", ".join(reference.labels or ())
    if reference.boxes is None:
        return words
    style = default_style(example.box_space)
    return f"{words} {style.write(reference.boxes.to(example.box_space).xyxy)}".strip()


def prompt_text(example: Example) -> str:
    """The words of the last turn of the prompt."""
    content = as_messages(example)[-1].get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, Sequence) else ()
    return " ".join(str(part["text"]) for part in parts if isinstance(part, dict) and "text" in part)


def most_common(texts: Sequence[str]) -> str:
    """The commonest of these texts (as `normalised` reads them), as first written; empty where there are none."""
    counts = Counter(map(normalised, texts))
    return max(texts, key=lambda text: counts[normalised(text)], default="")


def _truth(example: Example, draft: Draft) -> np.ndarray | None:
    truth: Boxes | None = example.reference.boxes
    if truth is None or draft.boxes is not None:
        return draft.boxes
    return truth.to(example.box_space).xyxy


def _labels(examples: Sequence[Example]) -> tuple[str, ...]:
    """Every label of the data, in the order in which they appear."""
    found: dict[str, None] = {}
    for example in examples:
        reference = example.reference
        for label in (*((reference.label,) if reference.label else ()), *(reference.labels or ())):
            found.setdefault(label)
    return tuple(found)


def _common_style(drafts: Sequence[Draft]) -> BoxFormat | None:
    """The style of the first gold answer that states a box, padded as wide as any of its form is."""
    styles = [
        draft.style for draft in drafts if draft.style is not None and draft.boxes is not None and len(draft.boxes)
    ]
    if not styles:
        return None
    return replace(styles[0], digits=max(style.digits for style in styles if style.name == styles[0].name))


def _in_style(draft: Draft, gold: str, common: BoxFormat) -> Draft:
    """The draft, padded as the others where its own numbers do not show it; without a box, in their style."""
    if draft.style is None:
        return draft
    if draft.boxes is None or not len(draft.boxes):
        return replace(draft, style=common)
    padded = replace(draft, style=replace(draft.style, digits=common.digits))
    return padded if padded.text == gold else draft


def _halves(blocks: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    names = sorted(set(blocks))
    order = np.random.default_rng([seed, 1]).permutation(len(names))
    first = {names[k] for k in order[: len(names) // 2]}
    inside = np.array([block in first for block in blocks], dtype=bool)
    return np.flatnonzero(inside), np.flatnonzero(~inside)
