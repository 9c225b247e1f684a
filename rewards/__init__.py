"""What is a good answer? Rewards that can be composed and trusted; numpy only, and nothing of the rooms above.

Read `glossary.py` first: the words. Then `reward.py` (what a reward is), `grounding.py`, `labels.py` and
`text_format.py` (rewards), `compose.py` and `gates.py` (their algebra), `execute.py` (how they are run).
"""

from groundrl.rewards import presets
from groundrl.rewards.audit import AuditReport, audit
from groundrl.rewards.average_precision import MeanAP
from groundrl.rewards.boxes import giou_matrix, iou_matrix, match_boxes, pad_boxes
from groundrl.rewards.consistency import Consistency
from groundrl.rewards.detection import Confidence, FBetaIoU, MatchedIoU, ThresholdIoU
from groundrl.rewards.execute import score_group
from groundrl.rewards.expression import parse_reward
from groundrl.rewards.factuality import Factuality
from groundrl.rewards.function import reward
from groundrl.rewards.gates import AtLeast, gate
from groundrl.rewards.glossary import (
    Boxes,
    BoxSpace,
    Completion,
    DataError,
    Example,
    ExampleSource,
    Group,
    ImageRef,
    Reference,
    Score,
    as_messages,
    pixel,
    rel1,
    rel1000,
)
from groundrl.rewards.grounding import GIoU, SoftF1
from groundrl.rewards.judge import Judge, score, verdict
from groundrl.rewards.labels import LabelAccuracy, Mentions
from groundrl.rewards.lengths import CosineLength, Length, Overlong, Repetition
from groundrl.rewards.medloc import MedLoc
from groundrl.rewards.medmo import MedMOBox
from groundrl.rewards.parsing import ParsedAnswer, ParsedBoxes, parse_answer, parse_boxes, parse_label
from groundrl.rewards.random_reward import RandomReward
from groundrl.rewards.reward import GroundRLWarning, Reward, RewardError, explain
from groundrl.rewards.schedules import linear
from groundrl.rewards.scorer import Scorer
from groundrl.rewards.spaces import qwen3_vl, qwen25_vl, smart_resize
from groundrl.rewards.statistics import part_statistics
from groundrl.rewards.text_format import Format, JsonSchema, Pattern, TagCount

__all__ = [
    "AtLeast",
    "AuditReport",
    "BoxSpace",
    "Boxes",
    "Completion",
    "Confidence",
    "Consistency",
    "CosineLength",
    "DataError",
    "Example",
    "ExampleSource",
    "FBetaIoU",
    "Factuality",
    "Format",
    "GIoU",
    "GroundRLWarning",
    "Group",
    "ImageRef",
    "JsonSchema",
    "Judge",
    "LabelAccuracy",
    "Length",
    "MatchedIoU",
    "MeanAP",
    "MedLoc",
    "MedMOBox",
    "Mentions",
    "Overlong",
    "ParsedAnswer",
    "ParsedBoxes",
    "Pattern",
    "RandomReward",
    "Reference",
    "Repetition",
    "Reward",
    "RewardError",
    "Score",
    "Scorer",
    "SoftF1",
    "TagCount",
    "ThresholdIoU",
    "as_messages",
    "audit",
    "explain",
    "gate",
    "giou_matrix",
    "iou_matrix",
    "linear",
    "match_boxes",
    "pad_boxes",
    "parse_answer",
    "parse_boxes",
    "parse_label",
    "parse_reward",
    "part_statistics",
    "pixel",
    "presets",
    "qwen3_vl",
    "qwen25_vl",
    "rel1",
    "rel1000",
    "reward",
    "score",
    "score_group",
    "smart_resize",
    "verdict",
]
