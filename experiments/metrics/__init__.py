"""Metrics by name, each with its definition. One family is one small file with a dict; a new one is a line here."""

from groundrl.experiments.metrics.cider import CIDER
from groundrl.experiments.metrics.classification import CLASSIFICATION
from groundrl.experiments.metrics.facts import FACTS
from groundrl.experiments.metrics.grounding import GROUNDING
from groundrl.experiments.metrics.medevalkit import MEDEVALKIT
from groundrl.experiments.metrics.metric import Answered, Metric, Tools
from groundrl.experiments.metrics.open_answers import OPEN
from groundrl.experiments.metrics.questions import QUESTIONS
from groundrl.experiments.metrics.reports import REPORTS
from groundrl.experiments.metrics.retrieval import RETRIEVAL
from groundrl.experiments.metrics.training import TRAINING

METRICS: dict[str, Metric] = {
    **TRAINING,
    **GROUNDING,
    **QUESTIONS,
    **OPEN,
    **REPORTS,
    **CIDER,
    **FACTS,
    **CLASSIFICATION,
    **RETRIEVAL,
    **MEDEVALKIT,
}

RENAMED = {"mean_iou": "iou_of_true_boxes"}  # in what was written before

__all__ = ["METRICS", "RENAMED", "Answered", "Metric", "Tools"]
