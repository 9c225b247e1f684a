"""What is a good answer? Rewards that can be composed and trusted; numpy only, and nothing of the rooms above.

Read `glossary.py` first: the words. Then `reward.py` (what a reward is), `grounding.py`, `labels.py` and
`text_format.py` (rewards), `compose.py` and `gates.py` (their algebra), `execute.py` (how they are run).
"""

from groundrl.rewards.audit import AuditReport, audit
from groundrl.rewards.boxes.formats import FORMATS, BoxFormat, box_format
from groundrl.rewards.boxes.geometry import giou_matrix, iou_matrix, match_boxes, pad_boxes
from groundrl.rewards.boxes.parsing import ParsedAnswer, parse_answer, parse_boxes, parse_label
from groundrl.rewards.boxes.reading import ParsedBoxes
from groundrl.rewards.boxes.spaces import Boxes, BoxSpace, pixel, rel1, rel1000, smart_resize
from groundrl.rewards.core.function import reward
from groundrl.rewards.core.gates import AtLeast, gate
from groundrl.rewards.core.glossary import (
    Completion,
    DataError,
    Example,
    ExampleSource,
    Group,
    ImageRef,
    Reference,
    Score,
    as_messages,
)
from groundrl.rewards.core.reward import GroundRLWarning, Reward, RewardError, explain
from groundrl.rewards.core.schedules import linear
from groundrl.rewards.expression import parse_reward
from groundrl.rewards.factuality import Factuality
from groundrl.rewards.judge import Judge, score, verdict
from groundrl.rewards.library.average_precision import MeanAP
from groundrl.rewards.library.consistency import Consistency
from groundrl.rewards.library.detection import Confidence, FBetaIoU, MatchedIoU, ThresholdIoU
from groundrl.rewards.library.grounding import GIoU, SoftF1
from groundrl.rewards.library.labels import LabelAccuracy, Mentions
from groundrl.rewards.library.lengths import CosineLength, Length, Overlong, Repetition
from groundrl.rewards.library.random_reward import RandomReward
from groundrl.rewards.library.text_format import Format, JsonSchema, Pattern, TagCount
from groundrl.rewards.published import presets
from groundrl.rewards.published.medloc import MedLoc
from groundrl.rewards.published.medmo import MedMOBox
from groundrl.rewards.run.execute import score_group
from groundrl.rewards.run.interop import from_trl, to_trl
from groundrl.rewards.run.scorer import Scorer
from groundrl.rewards.run.statistics import part_statistics

__all__ = [
    "FORMATS",
    "AtLeast",
    "AuditReport",
    "BoxFormat",
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
    "box_format",
    "explain",
    "from_trl",
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
    "rel1",
    "rel1000",
    "reward",
    "score",
    "score_group",
    "smart_resize",
    "to_trl",
    "verdict",
]
