"""Which prompts a step samples: P of them, and fresh ones in the place of groups without variance (DAPO)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from lightning.fabric import Fabric

from groundrl.algorithms.metrics import valid_values
from groundrl.algorithms.settings import RLSettings
from groundrl.rewards import Example, Group, Score
from groundrl.rollout.io.order import Order
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.sampling.engine import Engine, seed_key

Outcome = tuple[int, tuple[Score, ...]]  # a slot of the step and the scores of a group without variance in it


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The examples of one round, and for each the name of its randomness."""

    examples: tuple[Example, ...]
    seed_keys: tuple[str, ...]


class Draw:
    """The groups of one step as this rank draws them: every world_size-th of P slots, round after round.

    Each slot takes the next prompt of the order from `start` on; randomness is keyed by the prompt's number in the
    step. A slot whose group has no variance takes a fresh prompt in the next round, slots in order, until the step
    has drawn `dynamic_sampling` prompts beyond P; what is left then stays as it is. All ranks decide alike, from the
    scores of all. `drawn` and `discarded`, the scores thrown away, are over all ranks.

    Source: DAPO (arXiv 2503.14476), section 3.2; it samples on and keeps what has variance, which is the same.
    """

    def __init__(
        self, loader: Loader, order: Order, settings: RLSettings, fabric: Fabric, *, step: int, start: int
    ) -> None:
        self.loader = loader
        self.order = order
        self.settings = settings
        self.fabric = fabric
        self.step = step
        self.start = start
        self.drawn = 0
        self.discarded: list[Score] = []
        self.restored = False  # taken from a record
        self._replaced: set[int] = set()
        self._kept: dict[int, Group] = {}
        self._numbers: dict[int, int] = {}  # the number of the prompt that each slot on this rank has
        self._mine: list[tuple[int, int]] = []  # this round's slots on this rank, with the prompt's number
        self._take(range(settings.prompts_per_step))

    @property
    def unfinished(self) -> bool:
        """Whether some rank has slots to fill."""
        return self._waiting

    @property
    def groups(self) -> list[Group]:
        """This rank's groups in the order of their slots."""
        return [self._kept[slot] for slot in sorted(self._kept)]

    @property
    def prompts(self) -> Prompts:
        """What this rank samples in this round."""
        settings = self.settings
        return Prompts(
            examples=tuple(self.example(number) for _, number in self._mine),
            seed_keys=tuple(
                seed_key(seed=settings.seed, stream="rollout", stage=settings.name, step=self.step, prompt=number)
                for _, number in self._mine
            ),
        )

    def sample(self, engine: Engine) -> Iterator[Group]:
        """This round's groups on this rank as they finish, each whole."""
        prompts, settings = self.prompts, self.settings
        return engine.generate(
            prompts.examples,
            group_size=settings.group_size,
            sampling=settings.sampling,
            seed_keys=prompts.seed_keys,
        )

    def keep(self, groups: Sequence[Group]) -> None:
        """Take the round's scored groups, and find the slots of all ranks that a fresh prompt may fill."""
        flat: list[Outcome] = []
        for group in groups:
            slot, _ = self._mine[group.index]
            self._kept[slot] = group
            if len(set(valid_values(group))) < 2:
                flat.append((slot, group.scores or ()))
        allowance = self.settings.prompts_per_step + self.settings.dynamic_sampling - self.drawn
        chosen = sorted(self._of_all_ranks(flat))[:allowance] if allowance else []
        self.discarded += [score for _, scores in chosen for score in scores]
        self._replaced |= {slot for slot, _ in chosen}
        self._take([slot for slot, _ in chosen])

    def numbered(self) -> list[tuple[int, int, Group]]:
        """This rank's groups with their slot and the number of their prompt in the step: what a record needs."""
        return [(slot, self._numbers[slot], self._kept[slot]) for slot in sorted(self._kept)]

    def example(self, number: int) -> Example:
        """The example of the prompt with this number in the step."""
        return self.loader[self.order[self.start + number]][0]

    def state_dict(self) -> dict[str, Any]:
        """What all ranks have drawn and thrown away, beside this rank's groups."""
        return {"drawn": self.drawn, "replaced": sorted(self._replaced), "discarded": self.discarded}

    def finish(self, numbered: Sequence[tuple[int, int, Group]], state: Mapping[str, Any]) -> None:
        """Take groups and `state_dict` from a record in place of sampling."""
        self._kept = {slot: group for slot, _, group in numbered}
        self._numbers = {slot: number for slot, number, _ in numbered}
        self.drawn, self.discarded, self._replaced = state["drawn"], state["discarded"], set(state["replaced"])
        self._waiting, self.restored = False, True

    def metrics(self, groups: Sequence[Group]) -> dict[str, float]:
        """The cost, and the mean reward of all that was sampled: that of the kept `groups` is not the policy's."""
        if not self.settings.dynamic_sampling:
            return {}
        values = [value for group in groups for value in valid_values(group)]
        values += [score.value for score in self.discarded if score.value is not None]
        return {
            "groups/resampled": float(len(self._replaced)),
            "rollout/extra_prompts": float(self.drawn - self.settings.prompts_per_step),
            "rollout/reward_mean": sum(values) / len(values) if values else float("nan"),
        }

    def _take(self, slots: Sequence[int]) -> None:
        """Give these slots, in order, the next prompts."""
        numbered = [(slot, self.drawn + k) for k, slot in enumerate(slots)]
        rank, world_size = self.fabric.global_rank, self.fabric.world_size
        self._mine = [(slot, number) for slot, number in numbered if slot % world_size == rank]
        self._numbers |= dict(self._mine)
        self._waiting = bool(numbered)
        self.drawn += len(numbered)

    def _of_all_ranks(self, flat: list[Outcome]) -> list[Outcome]:
        if self.fabric.world_size == 1:
            return flat
        ranks: list[list[Outcome]] = [[] for _ in range(self.fabric.world_size)]
        torch.distributed.all_gather_object(ranks, flat)
        return [outcome for rank in ranks for outcome in rank]
