"""What is evaluated: a small YAML of data sets with their tasks, or the test data of a run's configuration.

```yaml
name: medical
data:
  - {name: medqa, data: {read: medqa, path: medqa/test.jsonl}, limit: 500}
  - {name: nuclei, task: grounding, data: nuclei/test}
metrics: {tight: my_metrics.py:tight}
sampling: {max_new_tokens: 512}
judge: Judge(base_url="http://localhost:8000/v1", model="qwen3")
```
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from groundrl.experiments.config.load import load_config, override, read_config
from groundrl.experiments.config.model import BoxWriting
from groundrl.experiments.config.run import ConfigError, check_own_metrics
from groundrl.experiments.config.stage import NAME, Seed, Source
from groundrl.experiments.metrics import METRICS, RENAMED
from groundrl.experiments.tasks import TASKS, Task
from groundrl.experiments.tasks.grounding import GROUNDING
from groundrl.rewards import Example
from groundrl.rewards.expression import nearest
from groundrl.rollout.settings import Sampling, Settings, Temperature


class DataSet(Settings):
    """One data set, and how it is measured."""

    name: str = Field(pattern=NAME, description="Of its rows in the tables.")
    data: Source = Field(description="As `data.test` of a run.")
    task: str | None = Field(
        default=None,
        description="As what it is measured; null: each example as its own task (what a reader of published files "
        "says of it), and one that says nothing as `grounding`.",
    )
    metrics: tuple[str, ...] | None = Field(
        default=None, description="Of the registry or of your own, in place of the task's and all of your own."
    )
    limit: int | None = Field(default=None, ge=1, description="Only the first so many examples; null: all.")

    @field_validator("metrics")
    @classmethod
    def _renamed(cls, metrics: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if metrics is None else tuple(RENAMED.get(metric, metric) for metric in metrics)

    @model_validator(mode="after")
    def _known(self) -> DataSet:
        if self.task is not None and self.task not in TASKS:
            raise ValueError(f"there is no task {self.task!r}{nearest(self.task, list(TASKS))}")
        return self

    def task_of(self, example: Example) -> Task:
        """The task as which an example is measured."""
        name = self.task or str(example.reference.columns.get("task", GROUNDING.name))
        if name not in TASKS:
            raise ValueError(f"example {example.id!r} is of the task {name!r}{nearest(name, list(TASKS))}")
        return TASKS[name]

    def measured(self, example: Example, own: Iterable[str]) -> tuple[str, ...]:
        """The metrics that are taken of an example; `own` are the evaluation's, of answers alone: not of retrieval."""
        if self.metrics is not None:
            return self.metrics
        task = self.task_of(example)
        return (*task.metrics, *(own if task.reward is not None else ()))


class AnswerSampling(Sampling):
    """How answers are drawn: greedily unless a temperature is given."""

    temperature: Temperature = 0.0


class EndpointConfig(Settings):
    """How an OpenAI-compatible endpoint is asked."""

    api_key_env: str | None = Field(default=None, description="The environment variable that holds the key.")
    concurrency: int = Field(default=8, ge=1, le=256, description="Requests under way at once.")
    timeout: float = Field(default=120.0, gt=0.0, description="Seconds for a request.")
    retries: int = Field(default=4, ge=0, le=20, description="How often a request that failed is sent again.")
    extra: dict[str, Any] = Field(
        default_factory=dict, description="Fields added to a request's body; null takes one out: `{seed: null}`."
    )


class EvalConfig(Settings):
    """One evaluation: data sets with their tasks, and how a model is asked."""

    name: str = Field(pattern=NAME, description="Of the evaluation.")
    seed: Seed = 0
    data: tuple[DataSet, ...] = Field(min_length=1, description="What the model is asked.")
    sampling: AnswerSampling = Field(default=AnswerSampling(), description="How its answers are drawn.")
    batch_size: int = Field(default=32, ge=1, description="Examples asked at a time.")
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="What is computed in.")
    on_error: Literal["raise", "skip"] = Field(
        default="raise", description="A faulty example: stop, or go on without its answer."
    )
    boxes: BoxWriting | None = Field(
        default=None, description="How the model writes boxes, as `model.boxes` of a run; null: as that run says."
    )
    metrics: dict[str, str] = Field(
        default_factory=dict, description="Metrics of your own, as in a run: name to `file.py:name`."
    )
    judge: str | None = Field(
        default=None, description="For metrics that need one, such as `Judge(base_url=..., model=...)`."
    )
    encoder: str | None = Field(
        default=None, description="For metrics that need one: a sentence encoder's folder or id."
    )
    endpoint: EndpointConfig = Field(
        default=EndpointConfig(), description="For a model behind an endpoint, `NAME@http://host:8000/v1`."
    )

    @model_validator(mode="after")
    def _whole(self) -> EvalConfig:
        names = [each.name for each in self.data]
        if len(set(names)) < len(names):
            raise ValueError(f"data sets need different names, got {', '.join(names)}")
        check_own_metrics(self.metrics)
        known = [*METRICS, *self.metrics]
        for data in self.data:
            for metric in data.metrics or ():
                if metric not in known:
                    raise ValueError(f"data.{data.name}: there is no metric {metric!r}{nearest(metric, known)}")
        return self


def load_eval_config(source: str | Path | Mapping[str, Any], overrides: Mapping[str, Any]) -> tuple[EvalConfig, Path]:
    """The configuration and the folder to which its paths are relative; ConfigError for what is wrong, in a sentence.

    A run's configuration, or its folder, stands for its `data.test` with its own name, seed, length of answers and
    metrics of its user's.
    """
    data, base = (copy.deepcopy(dict(source)), Path.cwd()) if isinstance(source, Mapping) else _read(source)
    if "stages" in data:
        run = load_config(data, {})[0]
        if run.data.test is None:
            raise ConfigError(f"{run.name}: there is nothing to evaluate on, set data.test")
        data = {
            "name": run.name,
            "seed": run.seed,
            "data": [{"name": "test", "data": run.data.test}],
            "sampling": {"max_new_tokens": run.evaluation.max_new_tokens},
            "on_error": run.data.on_error,
            "metrics": run.metrics,
        }
    for key, value in overrides.items():
        override(data, key, value)
    try:
        return EvalConfig.model_validate(data), base
    except ValidationError as error:
        raise ConfigError("\n".join(_explain(fault) for fault in error.errors())) from None


def _read(source: str | Path) -> tuple[dict[str, Any], Path]:
    """The keys of a file, a shipped recipe, or a run by its folder, whose paths are relative to where it began."""
    folder = Path(source)
    if not (folder / "config.yaml").is_file():
        return read_config(source)
    environment = json.loads((folder / "environment.json").read_text())
    return read_config(folder / "config.yaml")[0], Path(environment["base"])


def _explain(fault: Any) -> str:
    """One sentence of one pydantic fault, with the nearest valid key for an unknown one."""
    loc = fault["loc"]
    key = ".".join(map(str, loc))
    if fault["type"] == "extra_forbidden":
        sections: dict[str, type[Settings]] = {"data": DataSet, "sampling": AnswerSampling, "endpoint": EndpointConfig}
        model = sections.get(str(loc[0]), EvalConfig) if len(loc) > 1 else EvalConfig
        return f"unknown key {key}{nearest(str(loc[-1]), list(model.model_fields))}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key else message
