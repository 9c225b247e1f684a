"""Scores of a text against a reference report, and the facts of a text."""

from collections.abc import Callable

import pytest

from groundrl.rewards import Example, Factuality, Reference, Score
from groundrl.rewards.factuality import read_facts


@pytest.fixture(scope="session")
def against() -> Callable[..., Score]:
    """`against(report, text, **parameters of Factuality)`."""

    def score(report: str | None, text: str, **parameters) -> Score:
        example = Example(id="e", prompt="p", reference=Reference(report=report))
        return Factuality(**parameters).explain(text, example).score

    return score


@pytest.fixture(scope="session")
def facts() -> Callable[..., list[str]]:
    """The facts of a text as words, sorted."""
    return lambda text, lexicon=None: sorted(str(each.fact) for each in read_facts(text, lexicon).mentions)
