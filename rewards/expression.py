"""Rewards written as text, `0.6*SoftF1() + 0.3*LabelAccuracy()`: read off the syntax tree, nothing is evaluated."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Mapping
from typing import Any

from groundrl.rewards.core.gates import AtLeast, gate
from groundrl.rewards.core.reward import Reward
from groundrl.rewards.core.schedules import linear
from groundrl.rewards.factuality import Factuality
from groundrl.rewards.judge import Judge, score, verdict
from groundrl.rewards.library.average_precision import MeanAP
from groundrl.rewards.library.consistency import Consistency
from groundrl.rewards.library.detection import Confidence, FBetaIoU, MatchedIoU, ThresholdIoU
from groundrl.rewards.library.grounding import GIoU, SoftF1
from groundrl.rewards.library.labels import LabelAccuracy, Mentions
from groundrl.rewards.library.lengths import CosineLength, Length, Overlong, Repetition
from groundrl.rewards.library.random_reward import RandomReward
from groundrl.rewards.library.text_format import Format, JsonSchema, Pattern, TagCount
from groundrl.rewards.published.formulas import (
    ErrorAsZero,
    FirstBoxIoU,
    GreedyIoU,
    ListedMeanAP,
    StartsWith,
    VisionReasoner,
)
from groundrl.rewards.published.medloc import MedLoc
from groundrl.rewards.published.medmo import MedMOBox
from groundrl.rewards.published.presets import PRESETS, RENAMED

REWARDS: dict[str, type[Reward]] = {
    kind.__name__: kind
    for kind in (
        *(SoftF1, GIoU, FBetaIoU, MatchedIoU, ThresholdIoU, MeanAP, Confidence, MedMOBox, MedLoc),
        *(LabelAccuracy, Mentions, Format, TagCount, Pattern, JsonSchema, Consistency, Factuality, Judge),
        *(Overlong, Repetition, Length, CosineLength, AtLeast, RandomReward),
        *(FirstBoxIoU, ListedMeanAP, GreedyIoU, VisionReasoner, StartsWith, ErrorAsZero),
    )
}
CALLABLE: dict[str, Callable[..., Any]] = {**REWARDS, "gate": gate, "linear": linear}
CALLABLE |= {"verdict": verdict, "score": score}
METHODS = ("named", "clip", "scheduled")


def parse_reward(expression: str, names: Mapping[str, Reward] | None = None) -> Reward:
    """The reward that an expression describes; `repr(reward)` is such an expression.

    It may add, subtract and multiply, call the rewards of this package, `presets.<name>`, `gate` and `linear`, and use
    `.named`, `.clip` and `.scheduled`; `names` gives further rewards, and each takes the name that it has there.
    ValueError, with the nearest name, for anything else.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        value = _Reader(expression=expression, names=names or {}).read(tree)
    except (SyntaxError, RecursionError) as problem:
        raise ValueError(f"the reward {expression!r} is not an expression: {problem}") from problem
    if not isinstance(value, Reward):
        raise ValueError(f"the expression {expression!r} is a {type(value).__name__}, not a reward")
    return value


class _Reader:
    """Reads one expression; each kind of node that is not named here is refused."""

    def __init__(self, *, expression: str, names: Mapping[str, Reward]) -> None:
        self.expression = expression
        self.names = names

    def read(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return node.value
            case ast.Name(id=name):
                return self.named(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -1 * self.read(operand)
            case ast.BinOp(op=ast.Add() | ast.Sub() | ast.Mult()):
                return self.arithmetic(node)
            case ast.Tuple(elts=elements):
                return tuple(self.read(element) for element in elements)
            case ast.List(elts=elements):
                return [self.read(element) for element in elements]
            case ast.Dict(keys=keys, values=values) if None not in keys:
                pairs = zip((key for key in keys if key is not None), values, strict=True)
                return {self.read(key): self.read(value) for key, value in pairs}
            case ast.Call(func=function):
                return self.call(node, function)
        raise self.refused(f"{ast.unparse(node)!r} is not allowed")

    def named(self, name: str) -> Reward:
        if name not in self.names:
            raise self.refused(f"no reward is called {name!r}{nearest(name, [*self.names, *CALLABLE])}")
        found = self.names[name]
        return found if found.name == name else found.named(name)

    def arithmetic(self, node: ast.BinOp) -> Any:
        left, right = self.read(node.left), self.read(node.right)
        numbers = [isinstance(side, int | float) and not isinstance(side, bool) for side in (left, right)]
        rewards = [isinstance(side, Reward) for side in (left, right)]
        if not all(a or b for a, b in zip(numbers, rewards, strict=True)) or not any(rewards):
            raise self.refused(f"{ast.unparse(node)!r} combines no reward")
        if isinstance(node.op, ast.Mult):
            return left * right
        if any(numbers):
            raise self.refused(f"{ast.unparse(node)!r} adds a bare number to a reward; only a weight may stand alone")
        return left + right if isinstance(node.op, ast.Add) else left - right

    def call(self, node: ast.Call, function: ast.expr) -> Any:
        match function:
            case ast.Name(id=name) if name in CALLABLE:
                target: Callable[..., Any] = CALLABLE[name]
            case ast.Attribute(value=ast.Name(id="presets"), attr=name) if RENAMED.get(name, name) in PRESETS:
                target = PRESETS[RENAMED.get(name, name)]
            case ast.Attribute(value=ast.Name(id="presets"), attr=name):
                raise self.refused(f"no preset is called {name!r}{nearest(name, list(PRESETS))}")
            case ast.Attribute(value=inner, attr=method) if method in METHODS:
                receiver = self.read(inner)
                if not isinstance(receiver, Reward):
                    raise self.refused(f"{ast.unparse(inner)!r} is not a reward")
                target = getattr(receiver, method)
            case ast.Attribute(attr=name):
                raise self.refused(f"a reward has no method {name!r}{nearest(name, METHODS)}")
            case _:
                name = ast.unparse(function)
                raise self.refused(f"no reward is called {name!r}{nearest(name, [*CALLABLE, *self.names])}")
        if any(keyword.arg is None for keyword in node.keywords):
            raise self.refused("'**' is not allowed")
        given = {keyword.arg: self.read(keyword.value) for keyword in node.keywords if keyword.arg is not None}
        try:
            return target(*(self.read(argument) for argument in node.args), **given)
        except TypeError as problem:  # a parameter that does not exist, or is missing
            raise self.refused(f"{ast.unparse(node)!r}: {problem}") from problem

    def refused(self, why: str) -> ValueError:
        return ValueError(f"in the reward {self.expression!r}: {why}")


def nearest(name: str, known: list[str] | tuple[str, ...]) -> str:
    """`; did you mean ...?` where something known is close, else what is known."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(set(known)))}"
