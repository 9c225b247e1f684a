"""Tasks by name: how each is asked, what its reference holds, its default reward and metrics. Read `task.py` first."""

from __future__ import annotations

from groundrl.experiments.tasks.captioning import CAPTIONING
from groundrl.experiments.tasks.classification import CLASSIFICATION
from groundrl.experiments.tasks.grounding import GROUNDING, REFERRING
from groundrl.experiments.tasks.multiple_choice import MULTIPLE_CHOICE
from groundrl.experiments.tasks.report_generation import REPORT_GENERATION
from groundrl.experiments.tasks.retrieval import IMAGE_IMAGE_RETRIEVAL, IMAGE_TEXT_RETRIEVAL
from groundrl.experiments.tasks.summarisation import SUMMARISATION
from groundrl.experiments.tasks.task import Fields, Gold, Task
from groundrl.experiments.tasks.text_qa import TEXT_QA
from groundrl.experiments.tasks.vqa import CLOSED_VQA, OPEN_VQA

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        GROUNDING,
        REFERRING,
        CLOSED_VQA,
        OPEN_VQA,
        MULTIPLE_CHOICE,
        TEXT_QA,
        CAPTIONING,
        CLASSIFICATION,
        REPORT_GENERATION,
        SUMMARISATION,
        IMAGE_TEXT_RETRIEVAL,
        IMAGE_IMAGE_RETRIEVAL,
    )
}

__all__ = ["TASKS", "Fields", "Gold", "Task"]
