"""What a person runs: configurations, runs, sweeps, evaluation, figures, the command line.

`train`, `resume`, `load_run` and `Run` come from `run.py`, `sweep`, `load_sweep` and `Sweep` from `ablation/sweep.py`;
they are imported when first asked for, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundrl.experiments.ablation.sweep import Sweep, load_sweep, sweep
    from groundrl.experiments.run import Run, load_run, resume, train

__all__ = ["Run", "Sweep", "load_run", "load_sweep", "resume", "sweep", "train"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "groundrl.experiments.ablation.sweep" if "weep" in name else "groundrl.experiments.run"
    return getattr(import_module(module), name)
