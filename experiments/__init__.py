"""What a person runs: configurations, runs, evaluation, figures, the command line.

`train`, `resume`, `load_run` and `Run` come from `run.py`; they are imported when first asked for, so that the command
line answers at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundrl.experiments.run import Run, load_run, resume, train

__all__ = ["Run", "load_run", "resume", "train"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from groundrl.experiments import run

    return getattr(run, name)
