"""What `groundrl data check` finds: every fault, what each split holds, and what one split has of another."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from groundrl.experiments.metrics.questions import unknown_choice
from groundrl.rewards import Completion, DataError, Example, ExampleSource, ImageRef, SoftF1
from groundrl.rewards.audit.audit_task import prompt_text
from groundrl.rollout.io.pictures import stored_image

if TYPE_CHECKING:
    from groundrl.rollout.model.policy import Policy  # loads torch and transformers; only a configuration has one

PATIENT = ("patient", "patient_id", "deid_patient_id", "subject_id")  # columns that name a patient
MADE = 1_000  # examples looked at of a source that makes them without end
MEASURED = 1_000  # examples whose tokens are counted
TINY = 0.01  # of the box space: below, whole numbers of it no longer say where a box is
SHOWN = 24  # examples of a split on its contact sheet


@dataclass(frozen=True, kw_only=True)
class Split:
    """One part of the data by name.

    `held_out`: nothing of it may stand in another part. `made`: the source makes examples as many as one asks for.
    """

    name: str
    source: ExampleSource
    held_out: bool = False
    made: bool = False


@dataclass(frozen=True, kw_only=True)
class Leak:
    """What two splits share: an `image` (its pixels), a `block`, a `patient`, or a `question` without an image.

    `examples` are those of the first split and of the second, the first ones of each; `shared` how many such values.
    """

    kind: str
    splits: tuple[str, str]
    value: str
    examples: tuple[str, str]
    shared: int


@dataclass(kw_only=True)
class SplitFacts:
    """What a split holds. `faults` are messages with file and line; `seen` is kind -> value -> first example's id."""

    name: str
    examples: int
    checked: int
    left_out: int = 0
    faults: list[str] = field(default_factory=list)
    tasks: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    boxes: Counter[int] = field(default_factory=Counter)
    tokens: dict[str, dict[str, float]] = field(default_factory=dict)
    seen: dict[str, dict[str, str]] = field(default_factory=dict)
    ids: dict[str, int] = field(default_factory=dict)
    shown: list[Example] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """Every split and every leak. `sound`: there is neither a fault nor a leak."""

    splits: Sequence[SplitFacts]
    leaks: Sequence[Leak]

    @property
    def sound(self) -> bool:
        """Whether a run may begin."""
        return not self.leaks and not any(split.faults for split in self.splits)

    def as_json(self) -> dict[str, Any]:
        """The report as JSON."""
        return {
            "schema": 1,
            "sound": self.sound,
            "splits": {split.name: _split_json(split) for split in self.splits},
            "leaks": [
                {"kind": leak.kind, "splits": leak.splits, "value": leak.value}
                | {"examples": leak.examples, "shared": leak.shared}
                for leak in self.leaks
            ],
        }


def check_data(splits: Sequence[Split], *, policy: Policy | None = None, limit: int | None = None) -> DataReport:
    """Read every example of every split, with its images.

    `policy` counts tokens (up to a thousand examples of a split, evenly spaced), and says what its context cannot
    hold. With `limit`, so many examples of a split are read, evenly spaced; without, of one that is made a thousand.
    """
    hashes: dict[Any, str] = {}
    facts = [_facts(split, policy=policy, limit=limit, hashes=hashes) for split in splits]
    pairs = itertools.combinations(zip(splits, facts, strict=True), 2)
    leaks = [
        leak
        for (first, left), (second, right) in pairs
        if first.held_out or second.held_out
        for leak in _leaks(left, right)
    ]
    return DataReport(splits=facts, leaks=leaks)


def _facts(split: Split, *, policy: Policy | None, limit: int | None, hashes: dict[Any, str]) -> SplitFacts:
    source = split.source
    places = spaced(len(source), limit or (MADE if split.made else len(source)))
    facts = SplitFacts(
        name=split.name, examples=len(source), checked=len(places), left_out=getattr(source, "left_out", 0)
    )
    measured = {places[k] for k in spaced(len(places), MEASURED)}
    drawn = {places[k] for k in spaced(len(places), SHOWN)}
    lengths: dict[str, list[int]] = {"prompt": [], "answer": []}
    for place in places:
        try:
            example = source[place]
            wrong = [_twin(facts, example.id, place, source), _another_truth(example), unknown_choice(example)]
            facts.faults += [f"{_where(source, place)}: example {example.id!r}: {what}" for what in wrong if what]
            _note(facts, example, hashes)
            if policy is not None and place in measured:
                _measure(policy, example, lengths)
        except DataError as fault:
            facts.faults.append(str(fault))
            continue
        if place in drawn and example.images:
            facts.shown.append(example)
    facts.tokens = {what: _summary(found) for what, found in lengths.items() if found}
    return facts


def _twin(facts: SplitFacts, id: str, place: int, source: ExampleSource) -> str | None:
    """What is wrong where an earlier example of the split has this id."""
    first = facts.ids.setdefault(id, place)
    return None if first == place else f"{_where(source, first)} has this id too; give each example its own"


def _another_truth(example: Example) -> str | None:
    """What is wrong where the gold answer's boxes are not the reference's; tiny ones, which rounding moves, pass."""
    truth = example.reference.boxes
    if truth is None or example.answer is None or not len(truth):
        return None
    sides = truth.to(example.box_space).xyxy
    tiny = (sides[:, 2:] - sides[:, :2]).min() < TINY * example.box_space.width
    said = Completion(text=example.answer, box_space=example.box_space)
    if tiny or said.boxes is None or not len(said.boxes):
        return None
    score = SoftF1().score(said, example).value
    if score is None or score >= 0.5:
        return None
    what = f"the boxes of its answer and of its reference agree by {score:.2f} (soft F1)"
    return f"{what}: SFT would teach other boxes than RL pays for"


def _where(source: ExampleSource, place: int) -> str:
    where: Callable[[int], str] | None = getattr(source, "where", None)
    return where(place) if where is not None else f"place {place}"


def _note(facts: SplitFacts, example: Example, hashes: dict[Any, str]) -> None:
    """Count what the example holds, and remember what no other split may have."""
    reference = example.reference
    facts.tasks[f"{reference.columns.get('dataset', '-')}: {reference.columns.get('task', '-')}"] += 1
    boxes = reference.boxes
    if boxes is not None:
        facts.boxes[len(boxes)] += 1
    own = (reference.label,) if reference.label is not None else (boxes.labels if boxes is not None else None) or ()
    facts.labels.update(reference.labels if reference.labels is not None else own)
    values = {"block": [example.block] if example.block and not _names_image(example.block, example.images) else []}
    values["patient"] = [str(reference.columns[name]) for name in PATIENT if reference.columns.get(name) is not None]
    values["image"] = [_hash(image, example.id, hashes) for image in example.images]
    values["question"] = [] if example.images else [prompt_text(example)]
    for kind, found in values.items():
        for value in found:
            facts.seen.setdefault(kind, {}).setdefault(value, example.id)


def _names_image(block: str, images: Sequence[ImageRef]) -> bool:
    """Whether a block is but the name of the example's own image: then the picture says what is shared, not the name.

    train/0001.png and test/0001.png are two images.
    """
    paths = [image.source for image in images if isinstance(image.source, Path)]
    return any(block == path.stem or f"/{path.as_posix()}".endswith(f"/{block}") for path in paths)


def _hash(image: ImageRef, id: str, hashes: dict[Any, str]) -> str:
    """A hash of the picture's size and pixels: the same however it is encoded. A file is decoded once."""
    if image.source not in hashes:
        picture = stored_image(image, id)
        pixels = hashlib.blake2b(f"{picture.mode} {picture.size} ".encode() + picture.tobytes(), digest_size=16)
        hashes[image.source] = pixels.hexdigest()
    return hashes[image.source]


def _measure(policy: Policy, example: Example, lengths: Mapping[str, list[int]]) -> None:
    answer = 0 if example.answer is None else len(policy.encode_answer(example.answer))
    lengths["prompt"].append(len(policy.encode(example, reserve=answer)))
    if example.answer is not None:
        lengths["answer"].append(answer)


def _summary(lengths: Sequence[int]) -> dict[str, float]:
    values = np.array(lengths)
    quantiles = {"median": 0.5, "p95": 0.95}
    return {
        "n": len(values),
        **{name: float(np.quantile(values, share)) for name, share in quantiles.items()},
        "max": int(values.max()),
    }


def _leaks(left: SplitFacts, right: SplitFacts) -> Iterator[Leak]:
    for kind, values in left.seen.items():
        others = right.seen.get(kind, {})
        shared = [value for value in values if value in others]
        if shared:
            examples = values[shared[0]], others[shared[0]]
            yield Leak(
                kind=kind, splits=(left.name, right.name), value=shared[0], examples=examples, shared=len(shared)
            )


def spaced(length: int, count: int) -> list[int]:
    """`count` places out of `length`, evenly spaced; all where there are no more."""
    places: list[int] = np.linspace(0, max(length - 1, 0), min(count, length)).astype(int).tolist()
    return places


def _split_json(split: SplitFacts) -> dict[str, Any]:
    plain = ("examples", "checked", "left_out", "faults", "tokens")
    counted = ("tasks", "labels", "boxes")
    distinct = {kind: len(values) for kind, values in split.seen.items() if values}
    return (
        {name: getattr(split, name) for name in plain}
        | {name: {str(key): n for key, n in getattr(split, name).most_common()} for name in counted}
        | {"distinct": distinct}
    )
