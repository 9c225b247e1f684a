"""Reports against reference reports, word by word: corpus BLEU-4, and embeddings of whole texts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float

from groundrl.experiments.metrics.metric import (
    TEXTS,
    Answered,
    Metric,
    Statistics,
    Tools,
    counted,
    references,
    rows_of,
    said,
)

BATCH = 32


def _bleu_counts(answers: Sequence[Answered], tools: Tools) -> Statistics:
    """Matched and all n-grams of order 1 to 4, the answer's length, the closest reference's (sacrebleu's counts)."""
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(lowercase=True, effective_order=True)  # the second only silences a warning: the counts are the same
    rows: list[list[float] | None] = []
    for each in answers:
        truths = references(each.example)
        found = bleu.sentence_score(said(each.completion), list(truths)) if truths else None
        rows.append(None if found is None else [*found.counts, *found.totals, found.sys_len, found.ref_len])
    return rows_of(rows, width=10)


def _bleu(sums: Float[np.ndarray, "*R 10"]) -> Float[np.ndarray, "*R"]:
    from sacrebleu.metrics.bleu import BLEU

    def score(row: Float[np.ndarray, "10"]) -> float:
        numbers = row.astype(int).tolist()
        return BLEU.compute_bleu(numbers[:4], numbers[4:8], numbers[8], numbers[9], "exp").score / 100.0

    return np.asarray(np.apply_along_axis(score, -1, sums))


def _cosines(answers: Sequence[Answered], tools: Tools) -> Statistics:
    """Cosine of the answer's vector and its best reference's."""
    assert tools.encoder is not None
    truths = [references(each.example) for each in answers]
    texts = sorted({*(said(each.completion) for each in answers), *(text for own in truths for text in own)})
    vectors = dict(zip(texts, sentence_vectors(texts, tools.encoder), strict=True))
    return counted(
        [
            max((float(vectors[said(each.completion)] @ vectors[text]) for text in own), default=None)
            for each, own in zip(answers, truths, strict=True)
        ]
    )


def sentence_vectors(texts: Sequence[str], encoder: str) -> list[Float[np.ndarray, " H"]]:
    """Unit vectors: the mean over a text's tokens of the last hidden states of a transformers encoder."""
    import torch

    model, tokenizer = _encoder(encoder)
    found = []
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(list(texts[start : start + BATCH]), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            states = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].to(states.dtype)
        mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
        found += list(torch.nn.functional.normalize(mean, dim=-1).double().numpy())
    return found


@lru_cache(maxsize=1)
def _encoder(path: str) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    try:
        return AutoModel.from_pretrained(path).eval(), AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ValueError(f"encoder: {path} cannot be loaded as a transformers encoder: {error}") from error


REPORTS = {
    "bleu_4": Metric(
        definition="corpus BLEU-4 (sacrebleu: 13a tokens, lower case, exponential smoothing)",
        statistics=_bleu_counts,
        figure=_bleu,
        reads=TEXTS,
    ),
    "embedding_cosine": Metric(
        definition="cosine of the mean token vectors of the named sentence encoder, best reference",
        statistics=_cosines,
        range=(-1.0, 1.0),
        needs="encoder",
        reads=TEXTS,
    ),
}
