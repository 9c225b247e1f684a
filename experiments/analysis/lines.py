"""Logs with one JSON object on each line: verl's rollouts, and plain lines with a prompt and a completion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from groundrl.experiments.data.formats.example_json import FIELDS, example_from_json, example_id
from groundrl.experiments.data.formats.jsonl import parse_line
from groundrl.experiments.data.formats.values import number, refuse_unknown, shown, text
from groundrl.experiments.rescoring.log import Log, Record, gather_log
from groundrl.rewards import Example, Reference, rel1000
from groundrl.rewards.run.interop import example_of

VERL = ("input", "output", "score", "step")
PLAIN = ("completion", "step", "reward", "advantage", "parts")  # beside the fields of an example
EXPECTED = (
    f"verl's rollouts have {', '.join(VERL)} (gts and numbers of your own); "
    "a plain line has prompt (or messages) and completion, and may have reference, step, reward, advantage, parts"
)


def read_lines_log(files: Sequence[Path], name: str) -> Log:
    """The log of these files, each of verl's lines or of plain ones. ValueError, with file and line, for others."""
    unread: dict[str, None] = {}
    records = list(_records(files, unread))
    notes = (f"fields that are not read: {', '.join(unread)}",) if unread else ()
    return gather_log(name, records, notes=notes)


def holds_completions(file: Path) -> bool:
    """Whether the first line of a file is that of a log, not of a plain data set."""
    first = next(_objects(file), None)
    return first is not None and ("completion" in first[1] or set(VERL) <= set(first[1]))


def _records(files: Sequence[Path], unread: dict[str, None]) -> Iterator[Record]:
    """Each line; names of fields that mean nothing here are put into `unread`."""
    for file in files:
        for line, found in _objects(file):
            try:
                yield _record(found, file, line, unread)
            except ValueError as error:
                raise ValueError(f"{file}:{line}: {error}") from None


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open("rb") as lines:
        for line, raw in enumerate(lines, start=1):
            if raw.strip():
                try:
                    yield line, parse_line(raw)
                except ValueError as error:
                    raise ValueError(f"{file}:{line}: {error}") from None


def _record(found: Mapping[str, Any], file: Path, line: int, unread: dict[str, None]) -> Record:
    if set(VERL) <= set(found):
        return _of_verl(found, f"{file.stem}:{line}")
    if "completion" in found:
        return _of_plain(found, f"{file.stem}:{line}", file.parent, unread)
    raise ValueError(f"the line has {', '.join(found) or 'no columns'}; {EXPECTED}")


def _of_verl(found: Mapping[str, Any], id: str) -> Record:
    """A line of verl's `rollout_data_dir`: `gts` is the truth, further numbers are the reward function's."""
    for name in ("input", "output"):
        if not isinstance(found[name], str):
            raise ValueError(f"`{name}` is text, got {shown(found[name])}")
    others = {name: value for name, value in found.items() if name not in (*VERL, "gts")}
    numbers = {name: float(value) for name, value in others.items() if isinstance(value, int | float)}
    return Record(
        step=_step(found),
        example=_verl_example(found["input"], found.get("gts"), id),
        text=found["output"],
        reward=number(found["score"], "score"),
        parts=numbers,
    )


def _verl_example(prompt: str, truth: object, id: str) -> Example:
    """An object's fields are the reference's, as `to_trl` reads them; anything else is its label."""
    if isinstance(truth, dict):
        return example_of(prompt, {"id": id, **truth}, box_space=rel1000)
    label = None if truth is None else truth if isinstance(truth, str) else str(truth)
    return Example(id=id, prompt=prompt, reference=Reference(label=label))


def _of_plain(found: Mapping[str, Any], id: str, folder: Path, unread: dict[str, None]) -> Record:
    known = (*FIELDS, *PLAIN)
    unread |= dict.fromkeys(name for name in found if name not in known)
    refuse_unknown(
        [name for name in unread if get_close_matches(name, known, n=1, cutoff=0.8)], known, "field"
    )  # misspelt
    completion = text(found, "completion")
    if completion is None:
        raise ValueError("`completion` is text, got null")
    parts = found.get("parts") or {}
    if not isinstance(parts, dict):
        raise ValueError(f'`parts` is an object such as {{"box": 0.5}}, got {shown(parts)}')
    asked = {name: value for name, value in found.items() if name in FIELDS}
    return Record(
        step=_step(found),
        example=example_from_json(asked, id=example_id(asked, id), folder=folder),
        text=completion,
        reward=_maybe(found, "reward"),
        advantage=_maybe(found, "advantage"),
        parts={name: _maybe(parts, name, f"parts.{name}") for name in parts},
    )


def _maybe(found: Mapping[str, Any], name: str, where: str | None = None) -> float | None:
    return None if found.get(name) is None else number(found[name], where or name)


def _step(found: Mapping[str, Any]) -> int:
    step = found.get("step", 0)
    if type(step) is not int or step < 0:
        raise ValueError(f"`step` is a whole number from 0, got {shown(step)}")
    return step
