"""Arms that may not differ from `full`, named before they run: by what the pilot saw, and by their scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from groundrl.algorithms.advantages import ADVANTAGES
from groundrl.experiments.ablation.arms import MORE_SFT, rl_stages
from groundrl.experiments.ablation.plan import Plan
from groundrl.experiments.config.rewards import build_reward
from groundrl.experiments.config.run import RunConfig
from groundrl.rewards import Reward
from groundrl.rewards.core.compose import Sum

Weights = dict[str, float]  # by part, as it is written
SCALED = "its reward is that times {:g}, which advantages that divide by a standard deviation take out again"


def duplicate_arm_notes(plan: Plan, constant: Sequence[str]) -> Iterator[str]:
    """A sentence for each arm that may not differ. `constant`: parts that did not vary within a group of the pilot."""
    still = {repr(part): part.name for _, part in _terms(plan.base, plan.paths) if part.name in constant}
    unseen = f"{', '.join(still.values())} did not vary within any group of the pilot steps"
    earlier: list[tuple[str, RunConfig, Weights]] = []
    for arm in plan.arms:
        if arm.name == MORE_SFT:
            continue
        config = plan.changed(arm)
        written = {repr(part): weight for weight, part in _terms(config, plan.paths)}
        mine = {part: weight for part, weight in written.items() if part not in still}
        if not mine:
            yield f"{arm.name} has nothing to learn from: {unseen}"
            continue
        for name, other, weights in earlier:
            factor = _factor(mine, weights) if config.stages == other.stages else None
            if factor == 1.0:
                yield f"{arm.name} may not differ from {name}: {unseen}"
            elif factor is not None and ADVANTAGES[rl_stages(config)[0].advantage].scale_free:
                seen = f", and {unseen}" if still.keys() & written.keys() else ""
                yield f"{arm.name} may not differ from {name}: {SCALED.format(factor)}{seen}"
            else:
                continue
            break
        earlier.append((arm.name, config, mine))


def _terms(config: RunConfig, folder: Path) -> tuple[tuple[float, Reward], ...]:
    """The weighted parts of a configuration's reward, those of weight 0 left out."""
    reward = build_reward(config, folder)
    assert reward is not None, "a sweep's arms have rewards"
    terms = reward.terms if isinstance(reward, Sum) and not reward.renamed else ((1.0, reward),)
    return tuple(term for term in terms if term[0])


def _factor(mine: Weights, other: Weights) -> float | None:
    """The number above 0 by which all of the other's weights are multiplied in `mine`; None where there is none."""
    if mine.keys() != other.keys():
        return None
    ratios = [mine[part] / weight for part, weight in other.items()]
    even = all(abs(ratio - ratios[0]) <= 1e-9 * abs(ratios[0]) for ratio in ratios)
    return ratios[0] if even and ratios[0] > 0 else None
