"""The answers of one data set: asked batch by batch, each batch on disk before the next, and never asked twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.evals.config import DataSet, EvalConfig
from groundrl.experiments.metrics import Answered
from groundrl.experiments.metrics.retrieval import RETRIEVAL
from groundrl.experiments.tasks.retrieval import retrieval_recall
from groundrl.rewards import Completion, DataError, Example, ExampleSource
from groundrl.rewards.judge.template import task_text
from groundrl.rollout.io.records import completion_columns, json_number, read_completion, write_table
from groundrl.rollout.sampling.engine import Engine, seed_key

Note = Callable[[str], None]
ROW = pa.schema(
    {
        "index": pa.int64(),
        "example_id": pa.string(),
        "block": pa.string(),
        "prompt": pa.string(),
        "error": pa.string(),  # why there is no answer: the endpoint's fault, or with `on_error: skip` the data's
        "text": pa.string(),
        "token_ids": pa.list_(pa.int64()),
        "sampled": pa.list_(pa.bool_()),
        "logprobs": pa.list_(pa.float64()),
        "finish_reason": pa.string(),
        "policy_version": pa.int64(),
        **dict.fromkeys(RETRIEVAL, pa.float64()),  # in retrieval, where nothing is answered
    }
)


class Answers:
    """The answers to one data set, in `folder` as parts of `batch_size` rows that read as one table."""

    def __init__(self, data: DataSet, source: ExampleSource, config: EvalConfig, folder: Path) -> None:
        self.data = data
        self.source = source
        self.config = config
        self.folder = folder
        self.unanswered = 0  # of those asked now, by the endpoint; faults of the data, which may be skipped, are others
        self.count = min(len(source), data.limit or len(source))
        if not self.count:
            raise ValueError(f"the data set {data.name!r} has no examples")

    def ask(self, engine: Engine, note: Note) -> None:
        """Ask for what is not there: nothing of a finished data set; what failed before is asked again."""
        if self.retrieval:
            self._retrieve(engine)
        for start in range(0, 0 if self.retrieval else self.count, self.config.batch_size):
            part = self.folder / f"part-{start:08d}.parquet"
            known = {row["index"]: row for row in _read(part) if row["error"] is None}
            wanted = [
                index for index in range(start, min(start + self.config.batch_size, self.count)) if index not in known
            ]
            if wanted:
                asked = {row["index"]: row for row in self._rows(engine, wanted)}
                write_table([row for _, row in sorted((known | asked).items())], part, schema=ROW)
            note(f"{self.data.name}: {min(start + self.config.batch_size, self.count)} of {self.count}")

    @property
    def complete(self) -> bool:
        """Whether there is an answer to everything."""
        rows = self.rows()
        return len(rows) == self.count and all(row["error"] is None for row in rows)

    def rows(self) -> list[dict[str, Any]]:
        """All rows, in the order of the data."""
        return [row for part in sorted(self.folder.glob("part-*.parquet")) for row in _read(part)]

    def answered(self) -> Iterator[Answered]:
        """Each example that has an answer, with it."""
        for row in self.rows():
            if row["error"] is None:
                example = self.source[row["index"]]
                measured = {name: row[name] for name in RETRIEVAL if row[name] is not None}
                done = Completion(text="") if row["text"] is None else read_completion(row, example.box_space)
                yield Answered(example=example, completion=done, measured=measured)

    @property
    def retrieval(self) -> bool:
        """Whether nothing is answered, as the first example has it: hidden states are compared."""
        try:
            first = self.source[0]
        except DataError:
            if self.config.on_error == "raise":
                raise
            return False
        return self.data.task_of(first).reward is None

    def _retrieve(self, engine: Engine) -> None:
        """All examples are each other's candidates, so that they are one part."""
        if engine.policy is None:
            raise ConfigError(f"{self.data.name}: retrieval compares hidden states, of text and Qwen-VL models alone")
        examples = [self.source[index] for index in range(self.count)]
        found = retrieval_recall(engine.policy, examples)
        rows = [
            _row(index, example) | {name: json_number(float(values[index])) for name, values in found.items()}
            for index, example in enumerate(examples)
        ]
        write_table(rows, self.folder / "part-00000000.parquet", schema=ROW)

    def _rows(self, engine: Engine, indices: Sequence[int]) -> Iterator[dict[str, Any]]:
        examples: dict[int, Example] = {}
        for index in indices:
            try:
                examples[index] = self.source[index]
            except DataError as error:
                if self.config.on_error == "raise":
                    raise
                yield _row(index, None, error=str(error))
        yield from self._answers(engine, examples)

    def _answers(self, engine: Engine, examples: Mapping[int, Example]) -> Iterator[dict[str, Any]]:
        """One row for each example; where one is at fault and such are skipped, the others are asked one by one."""
        indices = list(examples)
        keys = [seed_key(seed=self.config.seed, stream="eval", stage=self.data.name, step=0, prompt=k) for k in indices]
        sampling = self.config.sampling
        try:
            groups = list(engine.generate(list(examples.values()), group_size=1, sampling=sampling, seed_keys=keys))
        except DataError as error:
            if self.config.on_error == "raise":
                raise
            if len(indices) == 1:
                yield _row(indices[0], examples[indices[0]], error=str(error))
                return
            for index in indices:
                yield from self._answers(engine, {index: examples[index]})
            return
        for group in groups:
            yield _row(indices[group.index], group.example, completion=group.completions[0])
        self.unanswered += len(engine.failures)
        for position, reason in engine.failures.items():
            yield _row(indices[position], examples[indices[position]], error=reason)


def _row(
    index: int, example: Example | None, *, completion: Completion | None = None, error: str | None = None
) -> dict[str, Any]:
    known = {} if example is None else {"example_id": example.id, "block": example.block or example.id}
    prompt = {} if example is None else {"prompt": task_text(example)}
    answer = {} if completion is None else completion_columns(completion)
    return {"index": index, "error": error, **known, **prompt, **answer}


def _read(part: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.ParquetFile(part).read().to_pylist() if part.is_file() else []
    return rows
