"""`groundrl audit`: what a reward pays for answers that never look at the image, as table, figure and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from groundrl.experiments.analysis import logged_examples
from groundrl.experiments.config.load import find_config, load_config
from groundrl.experiments.config.rewards import build_reward, load_user_reward
from groundrl.experiments.config.run import USER_CODE, ConfigError, RunConfig
from groundrl.experiments.config.stage import RLStage, Source, Training
from groundrl.experiments.data.training import load_training
from groundrl.experiments.runs.audit_check import sample_examples
from groundrl.rewards import (
    AuditReport,
    Example,
    ExampleSource,
    Reward,
    audit,
    parse_reward,
)
from groundrl.rollout.io.records import write_text

DEFAULT_DATA = "nuclei/train"


def audit_command(
    named: str, *, data: str | None, count: int, threshold: float, seed: int, out: Path
) -> tuple[AuditReport, list[Example]]:
    """Audit the reward that an expression, `file.py:name` or a configuration names; write audit.json and audit.png."""
    from groundrl.experiments.audit.figure import draw_audit

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
        own, index = (given, base) if given is not None else (_train_data(config), folder)
        return reward, _load(own, seed=seed, base=index)
    return parse_reward(named), _load(given or DEFAULT_DATA, seed=seed, base=base)


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
