"""Every answer to every example, scored: the table that all findings are read off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from groundrl.rewards.audit.attack import Attack
from groundrl.rewards.audit.audit_task import AuditTask
from groundrl.rewards.audit.bench import Bench
from groundrl.rewards.audit.ladder import box_rungs, probes, report_rungs
from groundrl.rewards.audit.reordering import reordered

SAME = 1e-9  # scores that differ by less are equal
REPEATED = 64  # examples whose texts are kept, to be scored a second time


class ScoreTable:
    """Scores `[rows, E]`, the rows in named stretches; `texts[i]` are those of example i < `REPEATED`."""

    def __init__(self, sizes: dict[str, int], values: Float[np.ndarray, "N E"], texts: list[list[str | None]]) -> None:
        ends = np.cumsum(list(sizes.values())).tolist()
        self._places = {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}
        self.values = values
        self.texts = texts
        self.gold = values[0]
        away, none, other = self.rows("probes")
        self.looks_at_boxes = self._differs(away) or self._differs(none)
        self.looks_at_words = self._differs(other)

    def rows(self, name: str) -> Float[np.ndarray, "K E"]:
        """The scores of one stretch."""
        return self.values[self._places[name]]

    def _differs(self, row: Float[np.ndarray, " E"]) -> bool:
        return bool((np.nan_to_num(np.abs(row - self.gold)) > SAME).any())


def score_all(task: AuditTask, bench: Bench, policies: Sequence[Attack]) -> ScoreTable:
    """Gold, the policies, the ladders, the probes and the reorderings of every example."""
    fit = [policy for policy in policies if policy.unfit(task) is None]
    columns: list[np.ndarray] = []
    kept: list[list[str | None]] = []
    sizes: dict[str, int] = {}
    for index, example in enumerate(task.examples):
        stretches: dict[str, Sequence[str | None]] = {
            "gold": [task.drafts[index].text],
            "policies": [policy.answer(task, index) if policy in fit else None for policy in policies],
            "moved": box_rungs(task, index),
            "left out": report_rungs(task, index),
            "probes": probes(task, index),
            "reordered": reordered(task, index),
        }
        texts = [text for stretch in stretches.values() for text in stretch]
        sizes = {name: len(stretch) for name, stretch in stretches.items()}
        columns.append(bench.score(example, texts))
        if index < REPEATED:
            kept.append(texts)
    return ScoreTable(sizes, np.stack(columns, axis=1), kept)
