"""Free text against one or several right texts: exact match, token F1, ROUGE-L, and a judge where one is named."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

from groundrl.experiments.metrics.metric import (
    TEXTS,
    Answered,
    Metric,
    Statistics,
    Tools,
    mean_of,
    mean_of_scored,
    references,
    rows_of,
    said,
)
from groundrl.rewards import Completion, Example
from groundrl.rewards.library.labels import normalised
from groundrl.rewards.run.execute import score_completions

AT_ONCE = 8  # questions to the judge

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def words(text: str) -> list[str]:
    """Casefolded, without punctuation and articles (SQuAD, arXiv 1606.05250)."""
    return _ARTICLES.sub(" ", text.casefold().translate(_PUNCTUATION)).split()


def token_f1(answer: str, truth: str) -> float:
    """F1 of the two bags of words, in [0, 1]; both empty is 1."""
    first, second = Counter(words(answer)), Counter(words(truth))
    total = first.total() + second.total()
    return 2.0 * (first & second).total() / total if total else 1.0


def rouge_l(answer: str, truth: str) -> float:
    """F-measure of the longest common subsequence of words (rouge-score, no stemming), in [0, 1]."""
    return float(_rouge().score(truth, answer)["rougeL"].fmeasure)


@lru_cache(maxsize=1)
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], use_stemmer=False)


def _best(value: Callable[[str, str], float]) -> Callable[[Completion, Example], float | None]:
    """Against the reference that fits best."""

    def best(completion: Completion, example: Example) -> float | None:
        return max((value(said(completion), truth) for truth in references(example)), default=None)

    return best


def _judged(answers: Sequence[Answered], tools: Tools) -> Statistics:
    """Sum and count of the judge's values, moved to [0, 1], and how often it failed."""
    assert tools.judge is not None
    judge, (lo, hi) = tools.judge, tools.judge.range

    def ask(each: Answered) -> tuple[float, float, float] | None:
        score = score_completions(judge, (each.completion,), each.example, on_error="raise")[0]
        if score.value is None:
            return None if score.status == "abstain" else (0.0, 0.0, 1.0)
        return (score.value - lo) / (hi - lo), 1.0, 0.0

    with ThreadPoolExecutor(max_workers=AT_ONCE) as threads:
        return rows_of(list(threads.map(ask, answers)), width=3)


OPEN = {
    "exact_match": mean_of(
        _best(lambda answer, truth: float(normalised(answer) == normalised(truth))),
        "the answer is a right text, whatever its case, spaces and outer punctuation",
        reads=TEXTS,
    ),
    "token_f1": mean_of(
        _best(token_f1), "F1 of the bags of words, articles and punctuation left out, best reference", reads=TEXTS
    ),
    "rouge_l": mean_of(_best(rouge_l), "ROUGE-L F-measure (rouge-score, no stemming), best reference", reads=TEXTS),
    "judge": Metric(
        definition="the judge's grade, moved to [0, 1]; where the judge failed there is none, and it is counted",
        statistics=_judged,
        figure=mean_of_scored,
        needs="judge",
        failed=2,
    ),
}
