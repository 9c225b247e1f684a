"""The log: completions as a table like a run's rollouts, with the examples behind them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from groundrl.experiments.config.stage import RLStage
from groundrl.experiments.recording.rollouts import groups_of
from groundrl.rewards import Example, Group
from groundrl.rollout.io.records import free_name

FOREIGN = "log"  # the stage of a foreign log


def _foreign_stages() -> dict[str, RLStage]:
    """Advantages as DeepSeekMath, TRL and verl estimate them by default."""
    return {FOREIGN: RLStage(name=FOREIGN, kind="rl", steps=1, advantage="grpo")}


@dataclass(frozen=True, kw_only=True)
class Log:
    """Recorded completions, one row each, those of a group side by side; and their examples by id.

    `table` has the columns of a run's rollouts, but for those that a foreign log cannot fill. `stages` says by its
    name how a stage estimated its advantages. `notes` are what a reader should know of the log, in sentences.
    """

    name: str
    table: pa.Table
    examples: Mapping[str, Example]
    stages: Mapping[str, RLStage] = field(default_factory=_foreign_stages)
    notes: tuple[str, ...] = ()
    folder: Path | None = None  # of a run of ours

    def groups(self) -> Iterator[tuple[int, Group]]:
        """Each group with the step at which it was recorded."""
        steps = self.table["step"].to_pylist()
        row = 0
        for group in groups_of(self.table, self.examples):
            yield steps[row], group
            row += len(group.completions)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One completion of a foreign log. What it does not hold is None; `parts` are other rewards by name."""

    step: int
    example: Example
    text: str
    reward: float | None = None
    advantage: float | None = None
    parts: Mapping[str, float | None] = field(default_factory=dict)


def gather_log(name: str, records: Iterable[Record], *, notes: tuple[str, ...] = ()) -> Log:
    """The log of foreign records: those of one step whose examples ask the same are a group, wherever they stand."""
    groups: dict[tuple[int, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.step, asked(record.example)), []).append(record)
    ordered = sorted(groups.items(), key=lambda item: item[0][0])  # stable: in a step in the order of appearance
    ids: dict[str, str] = {}
    examples: dict[str, Example] = {}
    columns: dict[str, list[Any]] = {
        name: [] for name in ("step", "group", "example_id", "text", "reward", "status", "advantage", "seed_key")
    }
    names = list(dict.fromkeys(part for _, members in ordered for record in members for part in record.parts))
    parts: dict[str, list[float | None]] = {part: [] for part in names}
    index, last = -1, None
    for (step, question), members in ordered:
        index, last = (index + 1 if step == last else 0), step
        if question not in ids:
            ids[question] = free_name(members[0].example.id, lambda name: name in examples)
            examples[ids[question]] = replace(members[0].example, id=ids[question])
        id = ids[question]
        for sample, record in enumerate(members):
            key = f"log/log/{FOREIGN}/{step}/{index}/{sample}"
            row = (step, index, id, record.text, record.reward, _status(record), _advantage(record), key)
            for column, value in zip(columns.values(), row, strict=True):
                column.append(value)
            for part, values in parts.items():
                values.append(record.parts.get(part))
    kinds = {"reward": pa.float64(), "status": pa.string(), "advantage": pa.list_(pa.float64())}
    table = {name: pa.array(values, kinds.get(name)) for name, values in columns.items()}
    table |= {f"parts/{part}": pa.array(values, pa.float64()) for part, values in parts.items()}
    return Log(name=name, table=pa.table(table), examples=examples, notes=notes)


def asked(example: Example) -> str:
    """What an example asks and what is true of it, as one text: equal for the completions of one group."""
    reference = example.reference
    boxes = reference.boxes.xyxy.tolist() if reference.boxes is not None else None
    truth = (reference.label, reference.labels, boxes, reference.report, reference.choices, dict(reference.columns))
    pictures = [str(image.source) for image in example.images]
    return json.dumps([example.prompt, example.messages, pictures, truth], default=str, sort_keys=True)


def _status(record: Record) -> str | None:
    return "ok" if record.reward is not None else None


def _advantage(record: Record) -> list[float] | None:
    return None if record.advantage is None else [record.advantage]
