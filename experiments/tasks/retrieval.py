"""Retrieval: which text belongs to an image, which image to another; examples that belong together share a `pair`.

Nothing is generated: hidden states are pooled (`rollout/pooling.py`) and compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from groundrl.experiments.tasks.task import Fields, Gold, Task
from groundrl.rewards import Example, Reference

if TYPE_CHECKING:
    from groundrl.rollout.model.policy import Policy

METRICS = ("recall_1", "recall_5", "recall_10")
KS = (1, 5, 10)


def gold(fields: Fields) -> Gold:
    """The pair as a column, and the text where there is one."""
    return Gold(answer=None, reference=Reference(report=fields.report, columns={"pair": fields.pair}))


IMAGE_TEXT_RETRIEVAL = Task(
    name="image_text_retrieval",
    templates={"image": "Represent this image.", "describe": "Describe this {modality}."},
    needs=("images", "report", "pair"),
    gold=gold,
    reward=None,
    metrics=METRICS,
)
IMAGE_IMAGE_RETRIEVAL = Task(
    name="image_image_retrieval",
    templates={"image": "Represent this image."},
    needs=("images", "pair"),
    gold=gold,
    reward=None,
    metrics=METRICS,
)


def retrieval_recall(policy: Policy, examples: Sequence[Example]) -> dict[str, Float[np.ndarray, " N"]]:
    """`recall_1`, `recall_5`, `recall_10` of each example, 0 or 1: is one that belongs to it among the k nearest?

    Where the examples have a `reference.report`, an image looks for a text among theirs; else for another image.
    Nearest is by the cosine of pooled hidden states. An image to which nothing belongs is nan.
    """
    from groundrl.rollout.forward.pooling import pooled

    pairs = [str(example.reference["pair"]) for example in examples]
    queries = pooled(policy, examples).numpy()
    texts = [example.reference.report for example in examples]
    if any(text is None for text in texts):
        return recalls(queries @ queries.T, pairs, pairs, same=True)
    distinct = list(
        dict.fromkeys(zip(texts, pairs, strict=True))
    )  # a text is one candidate, however many images it has
    candidates = pooled(policy, [Example(id=str(text), prompt=text) for text, _ in distinct]).numpy()
    return recalls(queries @ candidates.T, pairs, [pair for _, pair in distinct])


def recalls(
    similarity: Float[np.ndarray, "N M"], pairs: Sequence[str], others: Sequence[str], *, same: bool = False
) -> dict[str, Float[np.ndarray, " N"]]:
    """Recall at 1, 5 and 10 of each row, from how similar each candidate is to it and to which pair both belong.

    `same`: the candidates are the rows themselves, and none finds itself. Ties count against: a right candidate stands
    behind every wrong one that is as similar.
    """
    belongs = np.array([[pair == other for other in others] for pair in pairs])
    scores = similarity.astype(np.float64)
    if same:
        np.fill_diagonal(belongs, False)
        np.fill_diagonal(scores, -np.inf)
    best = np.where(belongs, scores, -np.inf).max(axis=1, keepdims=True)
    rank = ((scores >= best) & ~belongs).sum(axis=1)  # wrong candidates at least as near as the nearest right one
    found = belongs.any(axis=1)
    return {f"recall_{k}": np.where(found, (rank < k).astype(np.float64), np.nan) for k in KS}
