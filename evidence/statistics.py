"""`make evidence-statistics`: are the statistics of an ablation what they claim to be?

Simulated sweeps of 8 seeds: each seed shifts all its arms alike, every run adds noise of its own, and all arms are
compared with one `full`, as in a real sweep. Counted: how often any arm of a sweep without effects is called
significant after Holm's correction; how often intervals cover a true effect of 1.2 standard deviations of the
differences; how often it is found. Writes `runs/evidence/statistics.json` and prints the tables of BENCHMARKS.md.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import typer
from jaxtyping import Float

from groundrl.experiments.ablation.statistics import ALPHA, holm, power, sign_flip_p, smallest_p
from groundrl.rewards.core.intervals import block_interval, t_interval
from groundrl.rollout.io.records import write_text

EFFECT = 1.2  # d_z
BLOCKS = (5, 8, 12, 20)
CROPS, SPREAD, NOISE = 32, 0.1, 0.3  # of a block: its crops, the deviations of its mean and of a crop around it


def differences(
    sweeps: int, arms: int, seeds: int, effects: Float[np.ndarray, " M"], *, seed: int = 0
) -> Float[np.ndarray, "R M S"]:
    """Differences to `full` of `arms` arms, standard deviation 1; two arms correlate by 0.5, sharing `full`."""
    rng = np.random.default_rng(seed)
    runs = rng.normal(scale=math.sqrt(0.5), size=(sweeps, arms + 1, seeds)) + rng.normal(size=(sweeps, 1, seeds))
    runs[:, 1:] += effects[:, None]
    return runs[:, 1:] - runs[:, :1]


def simulate(sweeps: int, arms: int, seeds: int) -> dict[str, float]:
    """Rates over simulated sweeps; `power` is per arm, where all arms have the effect, and where one has."""
    nothing = differences(sweeps, arms, seeds, np.zeros(arms))
    every = differences(sweeps, arms, seeds, np.full(arms, EFFECT), seed=1)
    one = differences(sweeps, arms, seeds, np.array([EFFECT, *[0.0] * (arms - 1)]), seed=2)
    low, high = np.moveaxis(t_interval(every), -1, 0)
    return {
        "arms": arms,
        "smallest_corrected_p": smallest_p(seeds, arms=arms),
        "false_positive_rate": _share((holm(sign_flip_p(nothing)) <= ALPHA).any(axis=1)),
        "coverage": _share((low <= EFFECT) & (high >= EFFECT)),
        "power_t": _share((low > 0) | (high < 0)),
        "power_sign_flip": _share(sign_flip_p(every) <= ALPHA),
        "power_corrected_all": _share(holm(sign_flip_p(every)) <= ALPHA),
        "power_corrected_one": _share((holm(sign_flip_p(one)) <= ALPHA)[:, 0]),
    }


def coverage(blocks: int, *, tries: int, seed: int = 0) -> float:
    """How often the 95 % interval over so many blocks covers the true mean, here 0.

    A block's crops share its own mean, and a quarter to all of its `CROPS` are there.
    """
    rng = np.random.default_rng([seed, blocks])
    covers = 0
    for _ in range(tries):
        counts = rng.integers(CROPS // 4, CROPS + 1, size=blocks)
        means = rng.normal(scale=SPREAD, size=blocks) + rng.normal(scale=NOISE, size=blocks) / np.sqrt(counts)
        low, high = block_interval(np.stack([means * counts, counts], axis=1))
        assert low is not None
        assert high is not None
        covers += low <= 0.0 <= high
    return covers / tries


def table(results: list[dict[str, float]]) -> str:
    """Markdown, one row for each number of arms."""
    columns = {
        "arms": "arms compared",
        "smallest_corrected_p": "smallest corrected p",
        "false_positive_rate": "any false positive, corrected",
        "coverage": "t interval covers",
        "power_t": "t interval excludes 0",
        "power_sign_flip": "sign-flip p, uncorrected",
        "power_corrected_all": "corrected, all arms differ",
        "power_corrected_one": "corrected, one differs",
    }
    lines = ["| " + " | ".join(columns.values()) + " |", "|---" * len(columns) + "|"]
    for row in results:
        cells = [str(int(row[key])) if key == "arms" else f"{row[key]:.3f}" for key in columns]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(sweeps: int = 40_000, seeds: int = 8, folder: Path = Path("runs/evidence")) -> None:
    """Sweeps of 1 to 7 arms."""
    results = [simulate(sweeps, arms, seeds) for arms in range(1, 8)]
    covers = {blocks: coverage(blocks, tries=sweeps // 2) for blocks in BLOCKS}
    content = {"schema": 1, "sweeps": sweeps, "seeds": seeds, "effect": EFFECT, "rows": results, "blocks": covers}
    write_text(json.dumps(content, indent=2) + "\n", folder / "statistics.json")
    print(table(results))
    print("\nCoverage of the interval over blocks: " + ", ".join(f"{share:.3f} at {n}" for n, share in covers.items()))
    print(f"\nA paired t test over {seeds} seeds has a power of {power(EFFECT, seeds):.3f} in theory.")


def _share(found: Any) -> float:
    return float(np.mean(found))


if __name__ == "__main__":
    typer.run(main)
