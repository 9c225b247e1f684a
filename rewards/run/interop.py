"""TRL both ways: a `Reward` as the reward functions of `trl.GRPOTrainer`, and a TRL reward function as a `Reward`.

TRL calls `f(prompts, completions, completion_ids, **columns)` with one value of each data-set column for each
completion, and takes a list of floats, None where a function does not apply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from groundrl.rewards.boxes.spaces import Boxes, BoxSpace, rel1000
from groundrl.rewards.core.compose import Sum, scored
from groundrl.rewards.core.function import checked
from groundrl.rewards.core.glossary import Completion, Example, Reference, Score
from groundrl.rewards.core.reward import Reward

TRLReward = Callable[..., list[float | None]]

_REFERENCE = tuple(field.name for field in fields(Reference) if field.name not in ("boxes", "columns"))
_NOT_DATA = ("prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments")


def to_trl(reward: Reward, *, box_space: BoxSpace = rel1000) -> tuple[list[TRLReward], list[float]]:
    """`(reward_funcs, reward_weights)` for `GRPOTrainer` and `GRPOConfig`: one function for each part, under its name.

    The reference is read from data-set columns: `label`, `labels`, `boxes` (lists of four numbers), `report`,
    `choices`; any other column becomes one of the reference's. Boxes, true and written, are in `box_space`. Schedules
    follow the trainer's `global_step`. TRL has no
    mask: what abstains or failed is None there, and a completion of which every part is None is counted as reward 0.
    """
    terms = reward.terms if isinstance(reward, Sum) and not reward.renamed else ((1.0, reward),)
    return [_as_function(part, box_space) for _, part in terms], [weight for weight, _ in terms]


def _as_function(reward: Reward, box_space: BoxSpace) -> TRLReward:
    def function(
        prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Sequence[int]] = (), **columns: Any
    ) -> list[float | None]:
        trainer = columns.get("trainer_state")
        current = reward if trainer is None else reward.at(trainer.global_step)
        data = {name: column for name, column in columns.items() if name not in _NOT_DATA}
        values: list[float | None] = []
        for start, end in _groups(prompts, data):
            row = {name: column[start] for name, column in data.items()}
            group = [
                Completion(
                    text=text_of(completions[k]),
                    token_ids=tuple(completion_ids[k]) if completion_ids else (),
                    box_space=box_space,
                )
                for k in range(start, end)
            ]
            example = example_of(prompts[start], row, box_space=box_space)
            values += [score.value for score in scored(current, group, example)]
        return values

    function.__name__ = reward.name
    return function


def _groups(prompts: Sequence[Any], data: Mapping[str, Sequence[Any]]) -> list[tuple[int, int]]:
    """The stretches of one prompt and one reference each: TRL lays the completions of a group side by side."""
    keys = [(prompt, {name: column[k] for name, column in data.items()}) for k, prompt in enumerate(prompts)]
    starts = [k for k in range(len(keys)) if k == 0 or keys[k] != keys[k - 1]]
    return list(zip(starts, [*starts[1:], len(keys)], strict=True))


def text_of(completion: Any) -> str:
    """The text of a TRL completion: a string, or chat turns of which the last is the answer."""
    content = completion if isinstance(completion, str) else completion[-1]["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def example_of(prompt: Any, row: Mapping[str, Any], *, box_space: BoxSpace) -> Example:
    """The example behind one row of a TRL data set."""
    known = {name: row[name] for name in _REFERENCE if row.get(name) is not None}
    for name in ("labels", "choices"):
        if name in known:
            known[name] = tuple(known[name])
    boxes = row.get("boxes")
    truth = None if boxes is None else Boxes(xyxy=np.array(boxes, dtype=np.float64).reshape(-1, 4), space=box_space)
    others = {name: value for name, value in row.items() if name not in (*_REFERENCE, "boxes")}
    reference = Reference(boxes=truth, columns=others, **known)
    asked: dict[str, Any] = {"prompt": prompt} if isinstance(prompt, str) else {"messages": tuple(prompt)}
    return Example(id=str(row.get("id", "trl")), reference=reference, box_space=box_space, **asked)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TRLFunction(Reward):
    """A TRL reward function as a `Reward`: it is called once for a group, with the reference's columns repeated."""

    function: TRLReward
    range: tuple[float, float]

    def __post_init__(self) -> None:
        vars(self)["name"] = self.function.__name__

    def score(self, completion: Completion, example: Example) -> Score:
        """The function's value for a group of one."""
        return self.score_group((completion,), example)[0]

    def score_group(self, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
        """The function's values; None abstains. ValueError for a list of the wrong length."""
        chat = example.messages is not None
        texts = [completion.text for completion in completions]
        reference = {name: getattr(example.reference, name) for name in _REFERENCE}
        if example.reference.boxes is not None:
            reference["boxes"] = example.reference.boxes.to(example.box_space).xyxy.tolist()
        row = {name: value for name, value in reference.items() if value is not None} | dict(example.reference.columns)
        returned = self.function(
            prompts=[list(example.messages or ()) if chat else example.prompt] * len(texts),
            completions=[[{"role": "assistant", "content": text}] for text in texts] if chat else texts,
            completion_ids=[list(completion.token_ids) for completion in completions],
            **{name: [value] * len(texts) for name, value in row.items()},
        )
        if len(returned) != len(texts):
            raise ValueError(f"the TRL reward {self.name!r} gave {len(returned)} values for {len(texts)} completions")
        return [checked(self, value) for value in returned]

    def expression(self) -> str:
        """The function's name."""
        return self.function.__name__


def from_trl(function: TRLReward, *, range: tuple[float, float]) -> Reward:
    """A TRL reward function as a `Reward` with this declared range, which TRL functions do not state."""
    return TRLFunction(function=function, range=range)
