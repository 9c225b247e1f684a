"""What a person runs: configurations, runs, sweeps, evaluation, figures, the command line.

Each name is imported when it is first asked for, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundrl.experiments.ablation.sweep import Sweep, load_sweep, sweep
    from groundrl.experiments.runs.reader import Run, load_run
    from groundrl.experiments.runs.train import resume, train

_HOME = {
    "Run": "runs.reader",
    "Sweep": "ablation.sweep",
    "load_run": "runs.reader",
    "load_sweep": "ablation.sweep",
    "resume": "runs.train",
    "sweep": "ablation.sweep",
    "train": "runs.train",
}
__all__ = ["Run", "Sweep", "load_run", "load_sweep", "resume", "sweep", "train"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
