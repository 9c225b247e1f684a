"""Answers with their examples in a line each, and the figure of a metric over them."""

from collections.abc import Callable

import pytest

from groundrl.experiments.metrics import METRICS, Answered, Tools
from groundrl.rewards import Completion, Example, Reference


def answered(text: str, *, measured=None, **reference) -> Answered:
    example = Example(id="a", prompt="?", reference=Reference(**reference))
    return Answered(example=example, completion=Completion(text=text), measured=measured or {})


def figure(name: str, answers, tools: Tools = Tools()) -> float:  # noqa: B008
    """The figure of the answers to which the metric applies."""
    statistics = METRICS[name].statistics(answers, tools)
    applies = statistics[~(statistics != statistics).any(axis=1)]
    return float(METRICS[name].figure(applies.sum(axis=0)))


@pytest.fixture
def answer() -> Callable[..., Answered]:
    return answered


@pytest.fixture
def measure() -> Callable[..., float]:
    return figure
