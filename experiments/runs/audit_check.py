"""Before RL begins: does a policy that never looks at the image earn the reward?"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import numpy as np

from groundrl.rewards import DataError, Example, ExampleSource, GroundRLWarning, Reward, audit
from groundrl.rewards.audit.audit_task import has_gold
from groundrl.rewards.core.reward import parts_of

BEFORE_TRAINING = 32  # examples; with 8, chance alone can lift an empty answer over the threshold


def sample_examples(source: ExampleSource, count: int, *, seed: int) -> list[Example]:
    """So many examples drawn without repetition, in the data's order."""
    return [source[index] for index in _places(source, count, seed=seed)]


def warn_before_training(reward: Reward, source: ExampleSource, *, seed: int) -> None:
    """One warning where a policy that does not look passes the threshold on a few training examples.

    A reward that pays for its scores, as a judge does, is left to `groundrl audit`; examples that are faulty or have
    nothing to write a gold answer from are left out: training says what it needs. No random state is touched, also
    where the reward itself draws from a shared one.
    """
    from groundrl.algorithms.generators import untouched_generators  # here: `groundrl audit` need not wait for torch

    with untouched_generators():
        found = _found_before_training(reward, source, seed=seed)
    if found is not None:
        why = "look with `groundrl audit`; `audit=off` leaves this check out"
        warnings.warn(f"the reward can be gamed, {found}; {why}", GroundRLWarning, stacklevel=2)


def _found_before_training(reward: Reward, source: ExampleSource, *, seed: int) -> str | None:
    """The verdict, or None where there is nothing to say."""
    if any(part.costly for part in parts_of(reward)):
        return None
    examples = list(filter(has_gold, _sound(source, _places(source, BEFORE_TRAINING, seed=seed))))
    if not examples or (report := audit(reward, examples, seed=seed)).passed:
        return None
    return report.verdict


def _places(source: ExampleSource, count: int, *, seed: int) -> list[int]:
    rng = np.random.default_rng([seed, 0])
    places: list[int] = np.sort(rng.choice(len(source), min(count, len(source)), replace=False)).tolist()
    return places


def _sound(source: ExampleSource, places: Sequence[int]) -> Iterator[Example]:
    for place in places:
        try:
            yield source[place]
        except DataError:
            continue
