"""An audit in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from groundrl.rewards import AuditReport
from groundrl.rewards.audit import Offence
from groundrl.rewards.audit.report import RULE, number

SHOWN = 1  # completions of each finding; audit.json has more


def audit_tables(report: AuditReport) -> list[Any]:
    """The report as rich renderables: policies, checks, the offending completions, the verdict."""
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
        for offence in offences[:SHOWN]:
            pays = f"pays {number(offence.score)}, gold {number(offence.gold)}"
            found.append(Text(f"  {offence.example_id}  {pays}: {short(offence.text)}"))
    found.append(Text(f"\n{report.verdict}", style="bold green" if report.passed else "bold red"))
    return found


def _offences(report: AuditReport) -> list[tuple[str, Sequence[Offence]]]:
    flagged: list[tuple[str, Sequence[Offence]]] = [(f"{own.name}: {own.does}", own.offences) for own in report.flagged]
    return flagged + [(check.name, check.offences) for check in report.failed if check.offences]


def _with_interval(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval is not None else "")


def short(text: str, limit: int = 160) -> str:
    """A text on one line, in quotes, what cannot be printed left out."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return repr(line if len(line) <= limit else f"{line[: limit - 40]} ... {line[-35:]}")
