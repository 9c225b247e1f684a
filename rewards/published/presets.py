"""Published rewards by name. The default mends the defects of what was published; `as_published=True` reproduces it.

Weights that a paper does not publish are 1. Where no defect is known both are the same formula.
"""

from __future__ import annotations

from collections.abc import Callable

from groundrl.rewards.core.gates import AtLeast
from groundrl.rewards.core.reward import Reward
from groundrl.rewards.library.average_precision import MeanAP
from groundrl.rewards.library.detection import Confidence, FBetaIoU, MatchedIoU
from groundrl.rewards.library.grounding import GIoU, SoftF1
from groundrl.rewards.library.labels import LabelAccuracy, Mentions
from groundrl.rewards.library.lengths import CosineLength, Overlong, Repetition
from groundrl.rewards.library.text_format import Format, TagCount
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

_THINK = ("think", "answer")


def medmo_box(*, as_published: bool = False) -> Reward:
    """MedMO's box part (arXiv 2602.06965), in [0, 1]. Defect: without penalties, enumeration is free."""
    return MedMOBox(miss_penalty=0.0, false_penalty=0.0) if as_published else MedMOBox()


def medmo(*, max_tokens: int = 512, cache: int = 128, as_published: bool = False) -> Reward:
    """MedMO's four signals: label accuracy, boxes, tag count, soft overlong punishment; the weights are unpublished."""
    overlong = Overlong(max_tokens=max_tokens, cache=cache)
    return LabelAccuracy() + medmo_box(as_published=as_published) + TagCount() + overlong


def vlm_r1_rec(*, as_published: bool = False) -> Reward:
    """VLM-R1 for one referred box: its IoU. Defects: see `FirstBoxIoU`; mended, every box counts."""
    return FirstBoxIoU() if as_published else MatchedIoU()


def vlm_r1_od(*, od_length: bool = True, match_labels: bool = True, as_published: bool = False) -> Reward:
    """VLM-R1 for detection: COCO mAP; as published times `min(1, G/P)` if `od_length`. Defects: see `ListedMeanAP`."""
    if as_published:
        return ListedMeanAP(od_length=od_length, match_labels=match_labels)
    return MeanAP(match_labels=match_labels)


def visual_rft(*, as_published: bool = False) -> Reward:
    """Visual-RFT: IoU above .5 over `max(G, P)`, plus the confidence term. Defects: see `GreedyIoU`."""
    boxes: Reward = GreedyIoU() if as_published else MatchedIoU(threshold=0.5)
    return boxes + Confidence()


def vision_reasoner(*, as_published: bool = False) -> Reward:
    """VisionReasoner's three indicators, in [0, 3]. Defect: a negative image is never rewarded."""
    return VisionReasoner(negatives=not as_published)


def perception_r1(*, as_published: bool = False) -> Reward:
    """Perception-R1: IoU squared, plus format. Defect: its format pattern passes whatever begins with `<`."""
    return MatchedIoU(power=2.0) + (StartsWith() if as_published else Format(tags=_THINK))


def medix_r1(*, judge: Reward, embedding: Reward, as_published: bool = False) -> Reward:
    """MediX-R1: `.9 (.575 judge + .375 [embedding >= .8] + .05 modality) + .1 format`.

    `judge` in [0, 1] and `embedding`, a cosine, are yours; the modality is the reference's column of that name. Defect:
    a failure of the judge is 0, and so is an answer of one character; mended, a failure masks the completion.
    """
    close = AtLeast(reward=embedding, threshold=0.8)
    if as_published:
        judge = ErrorAsZero(reward=judge)
    return 0.9 * (0.575 * judge + 0.375 * close + 0.05 * Mentions(column="modality")) + 0.1 * Format(tags=_THINK)


def medloc(*, as_published: bool = False) -> Reward:
    """MedLoc: a threshold on IoU that rises with success (arXiv 2603.28120). No defect is known."""
    return MedLoc()


def lingshu(*, as_published: bool = False) -> Reward:
    """Lingshu: `.5 format + 1.0 accuracy`. No defect is known."""
    return 0.5 * Format(tags=_THINK) + 1.0 * LabelAccuracy()


def cosine_length(*, max_tokens: int = 1024, as_published: bool = False) -> Reward:
    """Cosine-scaled length of correct and wrong answers (see `CosineLength`). No defect is known."""
    return CosineLength(max_tokens=max_tokens)


def repetition(*, as_published: bool = False) -> Reward:
    """open-r1's repetition penalty: word trigrams, down to -1. No defect is known."""
    return Repetition(ngram=3, max_penalty=-1.0)


def tag_count(*, as_published: bool = False) -> Reward:
    """open-r1's tag count: .25 for each of four tags that occurs exactly once. No defect is known."""
    return TagCount()


def soft_overlong(*, max_tokens: int = 512, cache: int = 128, as_published: bool = False) -> Reward:
    """DAPO's soft overlong punishment (eq. 13). No defect is known."""
    return Overlong(max_tokens=max_tokens, cache=cache)


def soft_f1(*, as_published: bool = False) -> Reward:
    """This project's own: `2 sum IoU / (P + G)`."""
    return SoftF1()


def giou(*, as_published: bool = False) -> Reward:
    """This project's own: `sum (GIoU + 1)/2 / max(P, G)`."""
    return GIoU()


def f_beta_iou(*, beta: float = 1.0, threshold: float = 0.0, as_published: bool = False) -> Reward:
    """This project's own: F-beta of the matched IoU."""
    return FBetaIoU(beta=beta, threshold=threshold)


def mean_average_precision(*, as_published: bool = False) -> Reward:
    """This project's own: mean average precision without an order."""
    return MeanAP()


RENAMED = {"map": "mean_average_precision"}  # in expressions that were recorded before
PRESETS: dict[str, Callable[..., Reward]] = {
    preset.__name__: preset
    for preset in (
        medmo,
        medmo_box,
        vlm_r1_rec,
        vlm_r1_od,
        visual_rft,
        vision_reasoner,
        perception_r1,
        medix_r1,
        medloc,
        lingshu,
        cosine_length,
        repetition,
        tag_count,
        soft_overlong,
        soft_f1,
        giou,
        f_beta_iou,
        mean_average_precision,
    )
}
