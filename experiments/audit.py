"""`groundrl audit`: what a reward pays for answers that never look at the image, as table, figure and JSON."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from groundrl.experiments.config import ConfigError, RLStage, RunConfig, find_config, load_config
from groundrl.experiments.data.sources import load_source
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
from groundrl.rollout.records import write_text

Source = str | Mapping[str, Any]
DEFAULT_DATA = "nuclei/train"
BEFORE_TRAINING = 32  # examples; with 8, chance alone can lift an empty answer over the threshold


def audit_command(
    named: str, *, data: str | None, count: int, threshold: float, seed: int, out: Path
) -> tuple[AuditReport, list[Example]]:
    """Audit the reward that an expression, `file.py:name` or a configuration names; write audit.json and audit.png."""
    from groundrl.experiments.audit_figure import draw_audit

    reward, source = named_reward(named, data=data, seed=seed)
    examples = sample_examples(source, count, seed=seed, skip=False)
    report = audit(reward, examples, threshold=threshold, seed=seed)
    out.mkdir(parents=True, exist_ok=True)
    write_text(json.dumps(report.as_json(), indent=2) + "\n", out / "audit.json")
    draw_audit(report, examples, out / "audit.png")
    return report, examples


def named_reward(named: str, *, data: str | None, seed: int) -> tuple[Reward, ExampleSource]:
    """The reward and the data to audit it on: those given, the configuration's own, else `nuclei/train`."""
    base = Path.cwd()
    user = USER_CODE.fullmatch(named.strip())
    given = _spec(data) if data is not None else None
    if user is not None:
        return load_user_reward(base / user["file"], user["name"]), load_source(
            given or DEFAULT_DATA, seed=seed, base=base
        )
    if not any(mark in named for mark in "()+*"):
        config, folder = load_config(find_config(named), {})
        reward = build_reward(config, folder)
        if reward is None:
            raise ConfigError(f"{named} has no reward to audit")
        own, place = (given, base) if given is not None else (_train_data(config), folder)
        return reward, load_source(own, seed=seed, base=place)
    return parse_reward(named), load_source(given or DEFAULT_DATA, seed=seed, base=base)


def sample_examples(source: ExampleSource, count: int, *, seed: int, skip: bool) -> list[Example]:
    """So many examples drawn without repetition, in the data's order; with `skip`, faulty ones are left out."""
    rng = np.random.default_rng([seed, 0])
    found = []
    for index in np.sort(rng.choice(len(source), min(count, len(source)), replace=False)).tolist():
        try:
            found.append(source[index])
        except DataError:
            if not skip:
                raise
    return found


def warn_before_training(reward: Reward, source: ExampleSource, *, seed: int, skip: bool) -> None:
    """One warning where a policy that does not look passes the threshold on a few training examples."""
    examples = sample_examples(source, BEFORE_TRAINING, seed=seed, skip=skip)
    report = audit(reward, examples, seed=seed)
    if not report.passed:
        why = "look with `groundrl audit`; `audit: off` in the configuration leaves this check out"
        warnings.warn(f"the reward can be gamed, {report.verdict}; {why}", GroundRLWarning, stacklevel=2)


def _train_data(config: RunConfig) -> Source:
    """The data of the last RL stage, else of the run, else of the last stage."""
    for stage in reversed(config.stages):
        if isinstance(stage, RLStage) and stage.data is not None:
            return stage.data.train
    last = config.stages[-1].data
    own = config.data.train or (last.train if last is not None else None)
    return own if own is not None else DEFAULT_DATA


def _spec(data: str) -> Source:
    """`--data` as in a configuration: a name, a path, or `{coco: ..., images: ..., prompt: ...}`."""
    if not data.lstrip().startswith("{"):
        return data
    import yaml

    try:
        found = yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ConfigError(f"--data {data!r} is not YAML: {error}") from None
    if not isinstance(found, dict):
        raise ConfigError(f"--data {data!r} is neither a name, a path nor a mapping")
    return found


def tables(report: AuditReport) -> Sequence[Any]:
    """The report as rich renderables: policies, checks, the offending completions, the verdict."""
    from rich.table import Table
    from rich.text import Text

    from groundrl.rewards.audit.report import RULE, number

    policies = Table(title=f"{report.reward}: {report.num_examples} examples in {report.num_blocks} blocks")
    for heading in ("policy", "knows"):
        policies.add_column(heading)
    for heading in ("reward [95 %]", "share [95 %]", "limit", ""):
        policies.add_column(heading, justify="right")
    policies.add_row("gold", "truth", _with_interval(report.gold, report.gold_interval), "1.00", "", "")
    for own in report.policies:
        if own.reason is None:
            cells = (_with_interval(own.mean, own.interval), _with_interval(own.scale, own.scale_interval))
            policies.add_row(own.name, own.kind, *cells, f"{own.limit:.2f}", "FLAGGED" if own.flagged else "")
    found: list[Any] = [policies, Text(f"worst {number(report.worst)}. {RULE}", style="dim")]
    for reason in dict.fromkeys(own.reason for own in report.policies if own.reason is not None):
        names = ", ".join(own.name for own in report.policies if own.reason == reason)
        found.append(Text(f"not applicable, {reason}: {names}", style="dim"))
    for check in report.checks:
        outcome = {True: "ok", False: "FAILED", None: "not applicable"}[check.passed]
        found.append(Text(f"{check.name}: {outcome}{f' ({check.detail})' if check.detail else ''}"))
    for title, offences in _offences(report):
        found.append(Text(f"\n{title}", style="bold"))
        found += [Text(f"  {own.example_id}  pays {own.score:.3f}, gold {own.gold:.3f}: {_short(own.text)}") for own in offences]
    found.append(Text(f"\n{report.verdict}", style="bold green" if report.passed else "bold red"))
    return found


def _offences(report: AuditReport) -> list[tuple[str, Sequence[Any]]]:
    flagged = [(f"{own.name}: {own.does}", own.offences) for own in report.flagged]
    return flagged + [(check.name, check.offences) for check in report.failed if check.offences]


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval is not None else "")


def _short(text: str, limit: int = 160) -> str:
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return repr(line if len(line) <= limit else f"{line[: limit - 40]} ... {line[-35:]}")
