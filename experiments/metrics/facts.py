"""What reports say, by the factuality verifier's rules: facts, contradictions, and the 14 labels of CheXpert."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from groundrl.experiments.metrics.metric import (
    Answered,
    Metric,
    Statistics,
    Tools,
    f1_of,
    mean_f1,
    mean_of,
    rows_of,
    said,
)
from groundrl.rewards import Completion, Example, Factuality, Score
from groundrl.rewards.factuality import read_facts

FINDINGS = (
    "enlarged_cardiomediastinum",
    "cardiomegaly",
    "lung_opacity",
    "lung_lesion",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural_effusion",
    "pleural_other",
    "fracture",
)
LABELS = (*FINDINGS, "support_device", "no_finding")  # CheXpert's (arXiv 1901.07031)
NARROWER = {  # concepts of the verifier that are instances of a label
    "mass": "lung_lesion",
    "nodule": "lung_lesion",
    "infiltration": "lung_opacity",
    "pleural_thickening": "pleural_other",
}


def _fact(name: str) -> Callable[[Completion, Example], float | None]:
    """A number of the verifier's detail; 0 where there are no facts to agree with."""

    def value(completion: Completion, example: Example) -> float | None:
        score = Factuality().score(completion, example)
        if score.value is None:
            return None
        found = score.detail.get(name, 0.0)
        assert isinstance(found, float)
        return found

    return value


def _contradictions(completion: Completion, example: Example) -> float | None:
    score: Score = Factuality().score(completion, example)
    return None if score.value is None else score.parts["contradictions"].value


def chexpert_labels(text: str) -> frozenset[str]:
    """The labels that a report states to be present; without any finding it is `no_finding`."""
    facts = {mention.fact for mention in read_facts(text).mentions}
    present = {NARROWER.get(fact.concept, fact.concept) for fact in facts if fact.polarity == "present"}
    found = present & {*FINDINGS, "support_device"}
    return frozenset(found if found & set(FINDINGS) else {*found, "no_finding"})


def _chexpert_counts(answers: Sequence[Answered], tools: Tools) -> Statistics:
    """Hits, said and true of each label."""
    rows: list[list[float] | None] = []
    for each in answers:
        if each.example.reference.report is None:
            rows.append(None)
            continue
        mine, truth = chexpert_labels(said(each.completion)), chexpert_labels(each.example.reference.report)
        rows.append([float(label in side) for label in LABELS for side in (mine & truth, mine, truth)])
    return rows_of(rows, width=3 * len(LABELS))


def _micro(counts: Float[np.ndarray, "*R 42"]) -> Float[np.ndarray, "*R"]:
    return f1_of(counts.reshape(*counts.shape[:-1], -1, 3).sum(axis=-2))


_FACTS = "facts that the verifier's rules read from answer and reference report, mean over reports that state some"
_CHEXPERT = "F1 of the 14 CheXpert labels that the verifier's rules read as present"
REPORT = ("report",)
FACTS = {
    "fact_precision": mean_of(_fact("precision"), f"precision of the {_FACTS}", reads=REPORT),
    "fact_recall": mean_of(_fact("recall"), f"recall of the {_FACTS}", reads=REPORT),
    "fact_f1": mean_of(_fact("f1"), f"F1 of the {_FACTS}", reads=REPORT),
    "contradictions": mean_of(
        _contradictions, "facts in an answer that its reference denies, a report", range=(0.0, np.inf), reads=REPORT
    ),
    "chexpert_f1_micro": Metric(
        definition=f"{_CHEXPERT}, over all labels", statistics=_chexpert_counts, figure=_micro, reads=REPORT
    ),
    "chexpert_f1_macro": Metric(
        definition=f"{_CHEXPERT}, mean over the labels that occur",
        statistics=_chexpert_counts,
        figure=mean_f1,
        reads=REPORT,
    ),
}
