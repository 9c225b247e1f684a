"""The engines that a run can sample with, by name: what each may be told, and how it is built.

A new engine is its own file and a class here with an entry in `ENGINES`. Imports are late: a configuration is checked
without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from groundrl.rewards.expression import nearest

if TYPE_CHECKING:
    from groundrl.rollout.model.policy import Policy
    from groundrl.rollout.sampling.engine import Engine

Spec = str | Mapping[str, Mapping[str, object]]


@runtime_checkable
class EngineSettings(Protocol):
    """What one engine may be told: a frozen dataclass whose fields are the keys, each with a default.

    A value it refuses is a ValueError of its `__post_init__`.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def build(self, policy: Policy) -> Engine:
        """The engine, sampling from this policy."""
        ...


@dataclass(frozen=True, kw_only=True)
class Local:
    """The policy's own model, in this process, at most `max_rows` completions at a time."""

    max_rows: int = 256

    def __post_init__(self) -> None:
        if self.max_rows < 1:
            raise ValueError(f"max_rows must be at least 1, got {self.max_rows}")

    def build(self, policy: Policy) -> Engine:
        """The engine, sampling from this policy."""
        from groundrl.rollout.sampling.local import LocalEngine

        return LocalEngine(policy, max_rows=self.max_rows)


ENGINES: dict[str, type[EngineSettings]] = {"local": Local}


def engine_settings(spec: Spec) -> EngineSettings:
    """The settings that `engine: NAME` or `engine: {NAME: {key: value}}` stands for. ValueError in one sentence."""
    given = {spec: {}} if isinstance(spec, str) else dict(spec)
    if len(given) != 1:
        raise ValueError(f"engine is one name, such as local, or one name with its settings, got {spec!r}")
    ((name, settings),) = given.items()
    if name not in ENGINES:
        raise ValueError(f"there is no engine {name!r}{nearest(name, [*ENGINES])}")
    kinds = {each.name: type(each.default) for each in fields(ENGINES[name])}
    for key, value in settings.items():
        if key not in kinds:
            raise ValueError(f"the engine {name!r} has no setting {key!r}{nearest(key, [*kinds])}")
        if type(value) is not kinds[key]:
            raise ValueError(f"{name}: {key} must be of type {kinds[key].__name__}, got {value!r}")
    try:
        return ENGINES[name](**settings)
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from None
