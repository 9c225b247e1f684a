"""Scores of a text against a reference report, and the tables of sentences."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from groundrl.rewards import Example, Factuality, Reference, Score
from groundrl.rewards.factuality import read_facts


def table(name: str) -> list[dict[str, str]]:
    with (Path(__file__).parent / name).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="session")
def sentences() -> list[dict[str, str]]:
    return table("sentences.tsv")


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
