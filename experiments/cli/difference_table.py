"""The closing table of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundrl.rewards.core.intervals import FEWEST_BLOCKS


def difference_table(content: Mapping[str, Any]) -> Any:
    """Each stage's metrics and the difference with its 95 % interval."""
    from rich.table import Table

    stages = content["stages"]
    title = f"{content['num_examples']} test examples in {content['num_blocks']} blocks"
    if content["num_blocks"] < FEWEST_BLOCKS:
        title += f": an interval over fewer than {FEWEST_BLOCKS} is not to be trusted"
    table = Table(title=title)
    table.add_column("metric")
    for stage in stages:
        table.add_column(stage, justify="right")
    if content["difference"]:
        one = next(iter(content["difference"].values()))
        table.add_column(f"{one['from']} -> {one['to']} [95 % interval]", justify="right")
    for metric in next(iter(stages.values())):
        cells = [f"{values[metric]:.3f}" if metric in values else "" for values in stages.values()]
        found = content["difference"].get(metric)
        if content["difference"]:
            low, high = found["ci95"] if found else (None, None)
            interval = f" [{low:+.3f}, {high:+.3f}]" if low is not None else ""
            cells.append(f"{found['mean']:+.3f}{interval}" if found else "")
        table.add_row(metric, *cells)
    return table
