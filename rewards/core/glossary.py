"""The words of groundrl, read first: what a task, a completion, a score, a reward and a group are.

Every word is a frozen, keyword-only dataclass whose fields carry the field's own names. Shapes are written as
`P` prompts, `G` completions each, `N = P*G`, `T` tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from groundrl.rewards.boxes.parsing import ParsedAnswer, parse_answer, parse_boxes, parse_label
from groundrl.rewards.boxes.reading import ParsedBoxes
from groundrl.rewards.boxes.spaces import Boxes, BoxSpace, rel1000
from groundrl.rewards.core.lazy import lazy

ScoreStatus = Literal["ok", "abstain", "error", "nonfinite"]
FinishReason = Literal["stop", "length"]
IMAGE_MARK = "<image>"  # where an image goes in the text of a prompt


@dataclass(frozen=True, kw_only=True)
class ImageRef:
    """An image by path or as encoded bytes, with the `width` and `height` in pixels of the original."""

    source: Path | bytes
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What is known to be true of an example; a reward says by name which of it it needs."""

    label: str | None = None
    labels: tuple[str, ...] | None = None
    boxes: Boxes | None = None
    report: str | None = None
    choices: tuple[str, ...] | None = None
    columns: Mapping[str, object] = field(default_factory=dict)

    def __getitem__(self, name: str) -> object:
        """Any further column of the data, by name."""
        if name not in self.columns:
            known = ", ".join(sorted(self.columns)) or "none"
            raise KeyError(f"the reference has no column {name!r}; columns: {known}")
        return self.columns[name]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One instance of a task.

    Either `messages` (chat turns `{"role", "content"}`) or a plain `prompt`; `<image>` in a text marks where an image
    goes, else the images come first. `answer` is the gold answer text: the SFT target. `box_space` is the space in
    which the model is to write boxes, and their format. `block` names the independent unit (image tile, patient,
    document) over which intervals are computed.
    """

    id: str
    prompt: str | None = None
    messages: tuple[Mapping[str, object], ...] | None = None
    images: tuple[ImageRef, ...] = ()
    answer: str | None = None
    reference: Reference = field(default_factory=Reference)
    box_space: BoxSpace = rel1000
    block: str | None = None

    def __post_init__(self) -> None:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError(f"example {self.id!r} needs exactly one of `prompt` and `messages`")


class DataError(ValueError):
    """A fault in one example of the data: which one, what is wrong, what to do. `on_error: skip` leaves it out."""


@runtime_checkable
class ExampleSource(Protocol):
    """Examples by index: a list, or something that makes or reads each one when asked."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Example: ...


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One sampled answer.

    `text` is without the end token, `token_ids` with it. `sampled` is true for each token that the policy sampled (all,
    until there are tools). `logprobs` are those of the sampler. What is parsed out of the text is parsed once, when
    first asked for.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    sampled: tuple[bool, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish_reason: FinishReason = "stop"
    policy_version: int = 0
    box_space: BoxSpace = rel1000

    @lazy
    def parsed(self) -> ParsedAnswer:
        """The final answer: what follows the last `</think>`, and the inside of the only `<answer>` pair."""
        return parse_answer(self.text)

    @property
    def answer(self) -> str | None:
        """The text of the final answer, or None where there is no single one (`parsed.status` says why)."""
        return self.parsed.text

    @lazy
    def parsed_boxes(self) -> ParsedBoxes:
        """The boxes as written, with the parser's status and spans in the answer."""
        if self.answer is None:
            return ParsedBoxes(status=self.parsed.status)
        return parse_boxes(self.answer, format=self.box_space.format)

    @lazy
    def boxes(self) -> Boxes | None:
        """The boxes of the answer in the example's space, or None where they cannot be read."""
        parsed = self.parsed_boxes
        if parsed.status != "ok":
            return None
        xyxy = np.array(parsed.xyxy, dtype=np.float64).reshape(-1, 4)
        return Boxes(xyxy=xyxy, space=self.box_space, labels=parsed.labels, scores=parsed.scores, image=parsed.image)

    @lazy
    def label(self) -> str | None:
        """The label of the answer: its text without the boxes."""
        return parse_label(self.answer, self.parsed_boxes) if self.answer is not None else None


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a reward says of one completion.

    `value` is a finite number exactly when `status` is `ok`. `abstain`: the reward does not apply and is left out.
    `error` and `nonfinite`: not the model's fault; the completion is masked and counted, never scored 0. The model's
    own fault (nothing can be parsed) is `ok` with the range's low end and the reason in `detail`.
    """

    value: float | None
    status: ScoreStatus = "ok"
    parts: Mapping[str, Score] = field(default_factory=dict)
    detail: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.value is not None and math.isfinite(self.value)) != (self.status == "ok"):
            raise ValueError(f"a score of status {self.status!r} cannot have the value {self.value!r}")


@dataclass(frozen=True, kw_only=True)
class Group:
    """One example with its G completions and, once scored, their scores in the same order.

    `index` is the prompt's position in the step; `seed_key` names the randomness with which it was sampled.
    """

    example: Example
    completions: tuple[Completion, ...]
    scores: tuple[Score, ...] | None = None
    index: int = 0
    seed_key: str = ""

    def __post_init__(self) -> None:
        if self.scores is not None and len(self.scores) != len(self.completions):
            raise ValueError(f"{len(self.completions)} completions but {len(self.scores)} scores")


def as_messages(example: Example) -> Sequence[Mapping[str, object]]:
    """The example's chat turns; a plain prompt is one turn of the user."""
    if example.messages is not None:
        return example.messages
    return ({"role": "user", "content": example.prompt},)
