"""What a person runs: configurations, runs, sweeps, evaluation, figures, the command line.

Each name is imported when it is first asked for, so that the command line answers at once.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundrl.experiments.ablation.compare import limits
    from groundrl.experiments.ablation.statistics import holm, power, sign_flip_p, t_interval
    from groundrl.experiments.ablation.sweep import Sweep, load_sweep, sweep
    from groundrl.experiments.analysis.compare_runs import plot_field, plot_held_out, plot_reward, runs_at
    from groundrl.experiments.analysis.open_log import open_log
    from groundrl.experiments.analysis.page import write_page
    from groundrl.experiments.bench.tiny_model import build_tiny_qwen3_vl
    from groundrl.experiments.cli.audit_table import audit_tables
    from groundrl.experiments.cli.difference_table import difference_table
    from groundrl.experiments.config.load import load_config, read_config
    from groundrl.experiments.config.run import ConfigError, RunConfig
    from groundrl.experiments.data import CocoSource, JsonlSource, NucleiCrops, RenderedCells, load_source
    from groundrl.experiments.data.cells_benchmark.benchmark import build_cells
    from groundrl.experiments.data.cells_benchmark.sample import CellSettings
    from groundrl.experiments.data.formats.mask_source import MaskReading
    from groundrl.experiments.drawing.boxes import draw_boxes, draw_pairs
    from groundrl.experiments.metrics.own import metric
    from groundrl.experiments.runs.figures import before_and_after
    from groundrl.experiments.runs.reader import Run, load_run
    from groundrl.experiments.runs.train import resume, train

_HOME = {
    "CellSettings": "data.cells_benchmark.sample",
    "CocoSource": "data",
    "ConfigError": "config.run",
    "JsonlSource": "data",
    "MaskReading": "data.formats.mask_source",
    "NucleiCrops": "data",
    "RenderedCells": "data",
    "Run": "runs.reader",
    "RunConfig": "config.run",
    "Sweep": "ablation.sweep",
    "audit_tables": "cli.audit_table",
    "before_and_after": "runs.figures",
    "build_cells": "data.cells_benchmark.benchmark",
    "build_tiny_qwen3_vl": "bench.tiny_model",
    "difference_table": "cli.difference_table",
    "draw_boxes": "drawing.boxes",
    "draw_pairs": "drawing.boxes",
    "holm": "ablation.statistics",
    "limits": "ablation.compare",
    "load_config": "config.load",
    "load_run": "runs.reader",
    "load_source": "data",
    "load_sweep": "ablation.sweep",
    "metric": "metrics.own",
    "open_log": "analysis.open_log",
    "plot_field": "analysis.compare_runs",
    "plot_held_out": "analysis.compare_runs",
    "plot_reward": "analysis.compare_runs",
    "power": "ablation.statistics",
    "read_config": "config.load",
    "resume": "runs.train",
    "runs_at": "analysis.compare_runs",
    "sign_flip_p": "ablation.statistics",
    "sweep": "ablation.sweep",
    "t_interval": "ablation.statistics",
    "train": "runs.train",
    "write_page": "analysis.page",
}
__all__ = [
    "CellSettings",
    "CocoSource",
    "ConfigError",
    "JsonlSource",
    "MaskReading",
    "NucleiCrops",
    "RenderedCells",
    "Run",
    "RunConfig",
    "Sweep",
    "audit_tables",
    "before_and_after",
    "build_cells",
    "build_tiny_qwen3_vl",
    "difference_table",
    "draw_boxes",
    "draw_pairs",
    "holm",
    "limits",
    "load_config",
    "load_run",
    "load_source",
    "load_sweep",
    "metric",
    "open_log",
    "plot_field",
    "plot_held_out",
    "plot_reward",
    "power",
    "read_config",
    "resume",
    "runs_at",
    "sign_flip_p",
    "sweep",
    "t_interval",
    "train",
    "write_page",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
