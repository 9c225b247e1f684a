"""Windows on disk before their first update: a resumed run takes them from there and asks no judge again."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.fabric import Fabric

from groundrl.algorithms.checkpoint import WINDOWS
from groundrl.algorithms.dynamic_sampling import Draw
from groundrl.algorithms.generators import generator_state, set_generator_state
from groundrl.algorithms.settings import RLSettings
from groundrl.rewards import GroundRLWarning, Group, Reward, Score
from groundrl.rollout.io.records import completion_columns, read_completion, write_table

Numbered = tuple[int, int, Group]  # the slot in the step, the prompt's number in it, and the group


class Replay:
    """The windows of a stage, `folder/windows/step-000011.rank-0.parquet`, one file for each rank.

    A row is a completion with its log-probs and its whole score as JSON. What was drawn besides, and where the shared
    generators stood after scoring, is in the first row. Pages have checksums: a file that is torn or damaged is sampled
    anew. So is one of another reward or other settings (`plan`).
    """

    def __init__(self, folder: Path, reward: Reward, settings: RLSettings, fabric: Fabric) -> None:
        self.folder = folder / WINDOWS
        self.fabric = fabric
        learned = settings.model_dump(exclude={"checkpoint_every", "keep_last", "keep_best", "reward_workers"})
        self.plan = sha256(f"{reward.fingerprint} {learned!r}".encode()).hexdigest()

    def restore(self, draw: Draw) -> None:
        """Finish the draw from its file, where every rank has one."""
        found = self._read(draw)
        mine = torch.tensor(float(found is not None), device=self.fabric.device)
        everywhere = torch.as_tensor(self.fabric.all_reduce(mine, reduce_op="sum"))
        if found is not None and int(everywhere) == self.fabric.world_size:
            numbered, state = found
            draw.finish(numbered, state)
            set_generator_state(state["generators"])

    def write(self, draw: Draw) -> None:
        """Keep a draw that has just been sampled and scored."""
        if draw.restored:
            return
        state = {**draw.state_dict(), "plan": self.plan, "generators": generator_state()}
        state["discarded"] = [score_json(score) for score in draw.discarded]
        rows: list[dict[str, Any]] = [
            {
                "place": slot,  # the column is older than the word
                "number": number,
                "index": group.index,
                "example_id": group.example.id,
                "seed_key": group.seed_key,
                **completion_columns(completion),
                "score": json.dumps(score_json(score)),
                "draw": None,
            }
            for slot, number, group in draw.numbered()
            for completion, score in zip(group.completions, group.scores or (), strict=True)
        ]
        rows[0]["draw"] = json.dumps(state)
        write_table(rows, self._path(draw))

    def _path(self, draw: Draw) -> Path:
        return self.folder / f"step-{draw.step + 1:06d}.rank-{self.fabric.global_rank}.parquet"

    def _read(self, draw: Draw) -> tuple[list[Numbered], dict[str, Any]] | None:
        path = self._path(draw)
        if not path.is_file():
            return None
        try:
            rows = pq.read_table(path, page_checksum_verification=True).to_pylist()
            state = json.loads(rows[0]["draw"])
            if state["plan"] != self.plan:
                return None
            state["discarded"] = [read_score(score) for score in state["discarded"]]
            numbered = _groups(rows, draw)
        except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as problem:
            message = f"the window {path} is damaged and sampled anew ({type(problem).__name__}: {problem})"
            warnings.warn(message, GroundRLWarning, stacklevel=2)
            return None
        return numbered, state


def _groups(rows: Sequence[Mapping[str, Any]], draw: Draw) -> list[Numbered]:
    """The groups of a window's rows with their examples; ValueError where the data has others in their place."""
    slots: dict[int, list[Mapping[str, Any]]] = {}
    for row in rows:
        slots.setdefault(row["place"], []).append(row)
    numbered = []
    for slot, members in slots.items():
        first = members[0]
        example = draw.example(first["number"])
        if example.id != first["example_id"]:
            raise ValueError(f"it holds example {first['example_id']!r}, the data has {example.id!r} there")
        group = Group(
            example=example,
            completions=tuple(read_completion(row, example.box_space) for row in members),
            scores=tuple(read_score(json.loads(row["score"])) for row in members),
            index=first["index"],
            seed_key=first["seed_key"],
        )
        numbered.append((slot, first["number"], group))
    return numbered


def score_json(score: Score) -> dict[str, Any]:
    """A score with all its parts as JSON; what in a detail JSON cannot hold becomes text, as in a run's rollouts."""
    return {
        "value": None if score.value is None else float(score.value),
        "status": score.status,
        "parts": {name: score_json(part) for name, part in score.parts.items()},
        "detail": json.loads(json.dumps(dict(score.detail), default=str)),
    }


def read_score(written: Mapping[str, Any]) -> Score:
    """The score of a `score_json`."""
    parts = {name: read_score(part) for name, part in written["parts"].items()}
    return Score(value=written["value"], status=written["status"], parts=parts, detail=written["detail"])
