"""What a reward is: a name, a declared range, and a score of one completion or of a group."""

from __future__ import annotations

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, ClassVar, Protocol

from groundrl.rewards.core.explain import Explanation
from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.schedules import Schedule


class GroundRLWarning(UserWarning):
    """Every warning that groundrl itself gives; its tests turn them into errors."""


class RewardError(Exception):
    """A reward broke its contract or raised; the message shows the completion on which it did."""


class Algebra(Protocol):
    """What the operators of a reward make. The classes for it are rewards themselves: `algebra.py` brings them."""

    def add(self, a: Reward, b: Reward, /) -> Reward:
        """`a + b`."""
        ...

    def multiply(self, a: Reward, b: Reward | float, /) -> Reward:
        """`a * b`."""
        ...

    def clip(self, reward: Reward, lo: float, hi: float, /) -> Reward:
        """`reward` held within `[lo, hi]`."""
        ...

    def scheduled(self, reward: Reward, weight: Schedule, /) -> Reward:
        """`reward` times a weight that changes with the step."""
        ...

    def fingerprint(self, reward: Reward, /) -> str:
        """What names everything on which the scores depend."""
        ...


class Reward(ABC):
    """What is a good answer: `score` says it of one completion, within `range = (lo, hi)`.

    A subclass sets `range` (and `name`, else its class name in snake case) and defines `score`. One that must see
    all completions of an example together overrides `score_group` instead and lets `score` call it.
    """

    name: str = ""
    renamed: ClassVar[bool] = False
    costly: ClassVar[bool] = False  # each score costs money or a budget: it is only asked for where a person wants it
    ordered: bool = False  # declares that the order in which an answer lists its boxes may change the score
    range: tuple[float, float] = (0.0, 1.0)
    algebra: ClassVar[Algebra]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "name" not in vars(cls):
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()

    @abstractmethod
    def score(self, completion: Completion, example: Example) -> Score:
        """The score of one completion of this example."""

    def score_group(self, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
        """One score for each completion, in order."""
        return [self.score(completion, example) for completion in completions]

    @property
    def groupwise(self) -> bool:
        """Whether a score depends on the other completions of its group."""
        return type(self).score_group is not Reward.score_group

    @property
    def children(self) -> tuple[Reward, ...]:
        """The rewards of which this one is composed."""
        return ()

    @property
    def weights(self) -> Mapping[str, float]:
        """Part name -> weight in the total; one entry of weight 1 for anything but a sum."""
        return {self.name: 1.0}

    def at(self, step: int) -> Reward:
        """The reward of this training step; itself unless something in it is scheduled."""
        return self

    def observe(self, scores: Sequence[Score]) -> None:  # noqa: B027  (most rewards have nothing to learn)
        """Told by the training loop, once a step, the scores of all ranks; a windowed reward learns from them."""

    def state_dict(self) -> dict[str, Any]:
        """What `observe` has learned, as JSON; empty for most rewards."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        if state:
            raise ValueError(f"reward {self.name!r} has no state, but was given {sorted(state)}")

    def behind(self) -> Iterator[bytes]:
        """What the scores depend on beyond this module and the parameters (rules, data): part of the fingerprint."""
        return iter(())

    def named(self, name: str) -> Reward:
        """The same reward under another name: that of its metric and legend."""
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"a reward's name must be a Python identifier, got {name!r}")
        clone = copy.deepcopy(self)
        vars(clone).update(name=name, renamed=True)
        return clone

    def explain(self, text: str, example: Example) -> Explanation:
        """What this reward says of `text`, part by part, with the boxes on the image."""
        completion = Completion(text=text, box_space=example.box_space)
        score = self.score(completion, example)
        return Explanation(title=repr(self), completion=completion, example=example, score=score)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with the source, the parameters or the versions behind this reward."""
        return self.algebra.fingerprint(self)

    def __add__(self, other: Reward) -> Reward:
        return self.algebra.add(self, other)

    def __sub__(self, other: Reward) -> Reward:
        return self + -1.0 * other

    def __mul__(self, other: Reward | float) -> Reward:
        return self.algebra.multiply(self, other)

    __rmul__ = __mul__

    def clip(self, lo: float, hi: float) -> Reward:
        """This reward held within `[lo, hi]`."""
        return self.algebra.clip(self, lo, hi)

    def scheduled(self, weight: Schedule) -> Reward:
        """This reward times a weight that changes with the step, such as `linear(0, 1, 500)`."""
        return self.algebra.scheduled(self, weight)

    def __repr__(self) -> str:
        return self.expression() + (f".named({self.name!r})" if self.renamed else "")

    def expression(self) -> str:
        """The call that makes this reward, without its name; only what differs from the defaults."""
        changed: list[str] = []
        own: tuple[Field[Any], ...] = fields(self) if is_dataclass(self) else ()
        for field in own:
            value = getattr(self, field.name)
            default = field.default if field.default_factory is MISSING else field.default_factory()
            if field.init and value != default:
                changed.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"


def explain(reward: Reward, text: str, example: Example) -> Explanation:
    """What a reward says of `text` as an answer to `example`: readable in a terminal and, with boxes, in a notebook."""
    return reward.explain(text, example)


def keep_name(old: Reward, new: Reward) -> Reward:
    """The new reward under the name that the old one was given."""
    if old.renamed:
        vars(new).update(name=old.name, renamed=True)
    return new


def parts_of(reward: Reward) -> Iterator[Reward]:
    """A reward and everything of which it is composed."""
    yield reward
    for child in reward.children:
        yield from parts_of(child)


def unreadable(completion: Completion, example: Example) -> str | None:
    """Why a completion cannot be read as an answer to this example, or None where it can.

    Boxes are part of the answer exactly where the reference has them.
    """
    if completion.parsed.status != "ok":
        return f"answer: {completion.parsed.status}"
    if example.reference.boxes is not None and completion.parsed_boxes.status != "ok":
        return f"boxes: {completion.parsed_boxes.reason}"
    return None
