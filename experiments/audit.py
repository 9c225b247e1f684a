"""`groundrl audit`: what a reward pays for answers that never look at the image, as table, figure and JSON."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from groundrl.experiments.config import ConfigError, RunConfig
from groundrl.experiments.config_file import find_config, load_config
from groundrl.experiments.data.training import load_training
from groundrl.experiments.logs import logged_examples
from groundrl.experiments.stage_config import RLStage, Source, Training
from groundrl.experiments.user_rewards import USER_CODE, build_reward, load_user_reward
from groundrl.rewards import (
    AuditReport,
    DataError,
    Example,
    ExampleSource,
    GroundRLWarning,
    Reward,
    audit,
    parse_reward,
)
from groundrl.rewards.audit.task import has_gold
from groundrl.rewards.reward import parts_of
from groundrl.rollout.records import write_text

DEFAULT_DATA = "nuclei/train"
BEFORE_TRAINING = 32  # examples; with 8, chance alone can lift an empty answer over the threshold


def audit_command(
    named: str, *, data: str | None, count: int, threshold: float, seed: int, out: Path
) -> tuple[AuditReport, list[Example]]:
    """Audit the reward that an expression, `file.py:name` or a configuration names; write audit.json and audit.png."""
    from groundrl.experiments.audit_figure import draw_audit

    reward, source = named_reward(named, data=data, seed=seed)
    examples = sample_examples(source, count, seed=seed)
    report = audit(reward, examples, threshold=threshold, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(report.as_json(), indent=2) + "\n", out / "audit.json")
    draw_audit(report, examples, out / "audit.png")
    return report, examples


def named_reward(named: str, *, data: str | None, seed: int) -> tuple[Reward, ExampleSource]:
    """The reward and the data to audit it on: those given, the configuration's own, else `nuclei/train`."""
    base = Path.cwd()
    user = USER_CODE.fullmatch(named.strip())
    given = data_spec(data) if data is not None else None
    if user is not None:
        return load_user_reward(base / user["file"], user["name"]), _load(given or DEFAULT_DATA, seed=seed, base=base)
    if Path(named).suffix in (".yaml", ".yml") or not any(mark in named for mark in "()+*"):
        config, folder = load_config(find_config(named), {})
        reward = build_reward(config, folder)
        if reward is None:
            raise ConfigError(f"{named} has no reward to audit")
        own, place = (given, base) if given is not None else (_train_data(config), folder)
        return reward, _load(own, seed=seed, base=place)
    return parse_reward(named), _load(given or DEFAULT_DATA, seed=seed, base=base)


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


def _train_data(config: RunConfig) -> Training:
    """The data of the last RL stage, else of the run, else of the last stage."""
    for stage in reversed(config.stages):
        if isinstance(stage, RLStage) and stage.data is not None:
            return stage.data.train
    last = config.stages[-1].data
    own = config.data.train or (last.train if last is not None else None)
    return own if own is not None else DEFAULT_DATA


def _load(spec: Training, *, seed: int, base: Path) -> ExampleSource:
    """The data of a configuration, or those that a run or another trainer recorded."""
    logged = logged_examples(base / spec) if isinstance(spec, str) else None
    return load_training(spec, seed=seed, base=base) if logged is None else logged


def data_spec(data: str) -> Source:
    """Data given in a terminal, as in a configuration: a name, a path, or `{read: ..., path: ...}`."""
    if not data.lstrip().startswith("{"):
        return data
    import yaml

    try:
        found = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ConfigError(f"the data {data!r} is not YAML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"the data {data!r} is neither a name, a path nor a mapping")
    return found
