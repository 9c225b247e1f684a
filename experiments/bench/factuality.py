"""How fast reports are compared: 100 words each on one core, and how the cost grows with the length of the text."""

from __future__ import annotations

import random
import time

from groundrl.rewards import Completion, Example, Factuality, Group, Reference, score_group

_GROUPS, _COMPLETIONS, _WORDS, _REPEATS = 100, 8, 100, 5
_SENTENCES = (
    "The heart is mildly enlarged.",
    "The lungs are clear without focal consolidation.",
    "There is a small left pleural effusion with adjacent atelectasis.",
    "No pneumothorax, free air or acute fracture is seen.",
    "Patchy opacity in the right lower lobe may represent pneumonia.",
    "The mediastinal contours are within normal limits.",
    "An endotracheal tube terminates 4 cm above the carina.",
    "Compared with the prior study, the interstitial edema has improved.",
    "Two calcified nodules are present in the right upper lobe, unchanged since the previous examination.",
    "The visualised upper abdomen and the soft tissues of the chest wall show nothing of note.",
    "History of breast carcinoma, but no evidence of metastatic disease in the bones.",
    "Pulmonary vascular congestion cannot be excluded in this portable view.",
)


def bench_factuality() -> dict[str, float]:
    """`reports_per_second` of `Factuality()` in this process: groups of 8 reports of 100 words, one reference.

    Best of 5 runs; every reference is new, so each is read once a group, as in training. `length_ratio_1mb` is the time
    for a text of 1 MB over ten times that for 100 kB: 1 where cost is linear.
    """
    reward = Factuality()
    rng = random.Random(0)
    score_group(reward, _group(rng, 0))  # the shipped words are read at the first use
    rates = []
    for repeat in range(_REPEATS):
        groups = [_group(rng, f"{repeat} {index}") for index in range(_GROUPS)]
        start = time.process_time()
        for group in groups:
            score_group(reward, group)
        rates.append(_GROUPS * _COMPLETIONS / (time.process_time() - start))
    return {"reports_per_second": max(rates), "length_ratio_1mb": _seconds(1_000_000) / (10 * _seconds(100_000))}


def _group(rng: random.Random, name: object) -> Group:
    example = Example(id=str(name), prompt="", reference=Reference(report=f"{_report(rng)} {name}"))
    return Group(example=example, completions=tuple(Completion(text=_report(rng)) for _ in range(_COMPLETIONS)))


def _report(rng: random.Random) -> str:
    words: list[str] = []
    while len(words) < _WORDS:
        words += rng.choice(_SENTENCES).split()
    return " ".join(words[:_WORDS])


def _seconds(characters: int) -> float:
    text = " ".join(_SENTENCES)
    long = Completion(text=(text * (characters // len(text) + 1))[:characters])
    example = Example(id="long", prompt="", reference=Reference(report=text))
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        Factuality().score(long, example)
        best = min(best, time.process_time() - start)
    return best
