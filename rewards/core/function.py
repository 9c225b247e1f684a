"""`@reward`: a reward made of a plain function."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import sys
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias, cast, overload

import numpy as np

from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.reward import Reward

RewardFunction: TypeAlias = Callable[[Completion, Example], float | Awaitable[float | None] | None]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FunctionReward(Reward):
    """A reward made of a function `(completion, example) -> float | None`, plain or `async`."""

    function: RewardFunction
    range: tuple[float, float] = (0.0, 1.0)
    ordered: bool = False

    def __post_init__(self) -> None:
        lo, hi = self.range
        if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
            raise ValueError(f"a reward's range must be two finite numbers, low and high, got {self.range}")
        vars(self)["name"] = self.function.__name__

    def __call__(self, completion: Completion, example: Example) -> object:
        """The bare function, as a test of it would call it."""
        return self.function(completion, example)

    def score(self, completion: Completion, example: Example) -> Score:
        """The function's value: None abstains, NaN or infinity is `nonfinite`, anything but a number is refused."""
        return self.score_group((completion,), example)[0]

    def score_group(self, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
        """The function's values; those of an `async` function are awaited together."""
        returned = [self.function(completion, example) for completion in completions]
        if inspect.iscoroutinefunction(self.function):
            return [checked(self, value) for value in _gather(cast("list[Awaitable[float | None]]", returned))]
        return [checked(self, value) for value in returned]

    @property
    def groupwise(self) -> bool:
        """An `async` function is given its whole group, so that its calls overlap."""
        return inspect.iscoroutinefunction(self.function)

    def expression(self) -> str:
        """The function's name: known to `parse_reward` through its `names`."""
        return self.function.__name__

    def __deepcopy__(self, memo: dict[int, object]) -> FunctionReward:
        clone = object.__new__(FunctionReward)  # deepcopy would otherwise go through the name, as pickle does
        vars(clone).update(vars(self))
        return clone

    def __reduce__(self) -> tuple[Callable[..., FunctionReward], tuple[str, str, str, str]]:
        # The decorated name holds this object and no longer the function, so pickle goes by the name.
        module, qualified = self.function.__module__, self.function.__qualname__
        return _by_name, (module, qualified, inspect.getsourcefile(self.function) or "", self.name)


def checked(reward: Reward, value: object) -> Score:
    """What a function returned, as a score: None abstains, NaN and infinity are `nonfinite`.

    TypeError for what is no number, ValueError for a number outside the reward's range.
    """
    if value is None:
        return Score(value=None, status="abstain")
    if isinstance(value, bool | np.bool_ | str) or not hasattr(value, "__float__") or getattr(value, "shape", ()) != ():
        kind = type(value).__name__
        raise TypeError(f"reward {reward.name!r} returned {value!r} ({kind}); return a float, or None to abstain")
    number = float(value)
    if not math.isfinite(number):
        return Score(value=None, status="nonfinite", detail={"returned": repr(number)})
    lo, hi = reward.range
    if not lo <= number <= hi:
        raise ValueError(f"reward {reward.name!r} returned {number}, outside its declared range ({lo}, {hi})")
    return Score(value=number)


def _by_name(module: str, qualified: str, file: str, name: str) -> FunctionReward:
    """The reward of that name in that module."""
    function = getattr(load_module(module, file), qualified)
    return cast(FunctionReward, function if function.name == name else function.named(name))


def load_module(name: str, file: str) -> ModuleType:
    """A module by its name; from its file where it cannot be imported, as one that was loaded from a path cannot."""
    try:
        return sys.modules.get(name) or importlib.import_module(name)
    except ModuleNotFoundError:
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise
        found = importlib.util.module_from_spec(spec)
        sys.modules[name] = found
        spec.loader.exec_module(found)
        return found


def _gather(awaitables: Sequence[Awaitable[float | None]]) -> list[float | None]:
    """The results of awaitables, in order; in a thread of its own, since a notebook already runs an event loop."""
    import asyncio  # here, and not with every import of the rewards: it takes a twentieth of that

    async def together() -> list[float | None]:
        return list(await asyncio.gather(*awaitables))

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(lambda: asyncio.run(together())).result()


@overload
def reward(function: RewardFunction) -> FunctionReward: ...
@overload
def reward(
    *, range: tuple[float, float] = (0.0, 1.0), ordered: bool = False
) -> Callable[[RewardFunction], FunctionReward]: ...
def reward(
    function: RewardFunction | None = None, *, range: tuple[float, float] = (0.0, 1.0), ordered: bool = False
) -> FunctionReward | Callable[[RewardFunction], FunctionReward]:
    """Turn `(completion, example) -> float | None` into a `Reward` with this range; None abstains.

    Use as `@reward` or `@reward(range=(-1, 1))`; `ordered` declares that the order of the boxes matters. ValueError for
    a range that is not finite and ascending, or for a value outside it; TypeError for a value that is no number (text,
    a boolean, a list).
    """
    if function is not None:
        return FunctionReward(function=function, range=range, ordered=ordered)
    return lambda function: FunctionReward(function=function, range=range, ordered=ordered)
