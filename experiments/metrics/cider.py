"""CIDEr-D (Vedantam et al., CVPR 2015, arXiv 1411.5726, equation 11): n-grams weighted by how rare they are.

The rarity is that of the references of the data set that is evaluated, so a value depends on the set. Words are lower
case without punctuation; the usual code takes them from a Java tokenizer, which differs at abbreviations and hyphens.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from groundrl.experiments.metrics.metric import TEXTS, Answered, Metric, Statistics, Tools, counted, references, said

ORDERS = (1, 2, 3, 4)
SIGMA = 6.0  # in words: how fast another length than the reference's costs
Grams = Counter[tuple[str, ...]]


def grams(text: str) -> Grams:
    """How often each run of one to four words occurs."""
    words = re.findall(r"\w+(?:['’-]\w+)*", text.casefold())
    return Counter(tuple(words[k : k + n]) for n in ORDERS for k in range(len(words) - n + 1))


def ciders(answers: Sequence[str], truths: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D of each answer against its references, in [0, 10]; the sets of references are the corpus."""
    known = [[grams(text) for text in own] for own in truths]
    documents: Counter[tuple[str, ...]] = Counter()
    for own in known:
        documents.update({gram for each in own for gram in each})
    rarity = {gram: math.log(len(known) / count) for gram, count in documents.items()}
    rarest = math.log(len(known)) if known else 0.0
    return [
        10.0 * sum(_similarity(mine, each, rarity, rarest) for each in own) / len(own)
        for mine, own in zip(map(grams, answers), known, strict=True)
    ]


def _similarity(mine: Grams, other: Grams, rarity: Mapping[tuple[str, ...], float], rarest: float) -> float:
    """The mean over orders of a clipped cosine of the weighted counts, times the cost of another length."""
    total = 0.0
    for n in ORDERS:
        first, second = (
            {gram: count * rarity.get(gram, rarest) for gram, count in side.items() if len(gram) == n}
            for side in (mine, other)
        )
        shared = sum(min(first[gram], second[gram]) * second[gram] for gram in first.keys() & second.keys())
        norms = math.hypot(*first.values()) * math.hypot(*second.values())
        total += shared / norms if norms else 0.0
    return total / len(ORDERS) * math.exp(-((_length(mine) - _length(other)) ** 2) / (2 * SIGMA**2))


def _length(side: Grams) -> int:
    return sum(count for gram, count in side.items() if len(gram) == 2)  # as the authors' code counts it


def _statistics(answers: Sequence[Answered], tools: Tools) -> Statistics:
    truths = [references(each.example) for each in answers]
    judged = [place for place, own in enumerate(truths) if own]
    found = ciders([said(answers[place].completion) for place in judged], [truths[place] for place in judged])
    values: list[float | None] = [None] * len(answers)
    for place, value in zip(judged, found, strict=True):
        values[place] = value
    return counted(values)


CIDER = {
    "cider": Metric(
        definition="CIDEr-D, from 0 to 10, n-grams weighted by their rarity in the references of this data set",
        statistics=_statistics,
        range=(0.0, 10.0),
        reads=TEXTS,
    )
}
