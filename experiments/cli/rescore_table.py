"""A re-scored log in the terminal."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from groundrl.experiments.cli.audit_table import short
from groundrl.experiments.rescoring.rescore import Rescored


def rescore_tables(found: Rescored) -> list[Any]:
    """What changed as rich renderables: the numbers, the completions that changed most, notes."""
    summary = found.summary
    numbers = Table(title=f"{summary['completions']} completions in {summary['groups']} groups of {summary['source']}")
    for heading in ("", "recorded", f"under {summary['reward']}"):
        numbers.add_column(heading)
    total, informative = summary["total"], summary["informative"]
    numbers.add_row("reward, mean", _number(total["old_mean"]), _number(total["new_mean"]))
    recorded = summary["recorded_parts"]
    for name in dict.fromkeys([*recorded, *summary["parts"]]):
        numbers.add_row(f"  {name}, mean", _number(recorded.get(name)), _number(summary["parts"].get(name)))
    change = f"{informative['new']} ({informative['gained']} gained, {informative['lost']} lost)"
    numbers.add_row("informative groups", str(informative["old"]), change)
    numbers.add_row("completions without a score", "", str(summary["without_score"]))
    rank, flips = summary["rank_correlation"], summary["advantages"]
    agreement = f"{_number(rank['mean'])} (Kendall's tau-b, mean of {rank['groups']} groups)"
    numbers.add_row("same order within groups", "", agreement)
    numbers.add_row("advantages of the other sign", "", f"{flips['sign_flips']} of {flips['compared']}")
    numbers.add_row("totals that are equal", "", f"{total['equal']} of {total['compared']}")
    shown: list[Any] = [numbers, *(Text(note, style="dim") for note in summary["notes"])]
    return [*shown, _changed(found)] if found.changed else [*shown, Text("no completion changed")]


def _changed(found: Rescored) -> Table:
    table = Table(title=f"the {len(found.changed)} completions that changed most")
    for heading in ("step", "example", "reward", "advantage", "parts now", "completion"):
        table.add_column(heading)
    for row in found.changed:
        advantages = [_first(row[name]) for name in ("old_advantage", "new_advantage")]
        parts = "\n".join(f"{name} {_number(value)}" for name, value in row["new_parts"].items())
        table.add_row(
            str(row["step"]),
            Text(row["example_id"]),
            f"{_number(row['old'])} -> {_number(row['new'])}",
            " -> ".join(advantages),
            parts,
            Text(short(row["text"])),
        )
    return table


def _first(advantage: list[float] | None) -> str:
    """One number where all tokens have the same; the mean where they differ."""
    return f"{sum(advantage) / len(advantage):+.2f}" if advantage else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
