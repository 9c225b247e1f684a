"""`groundrl data ...`: what is done with data before a run."""

from __future__ import annotations

import typer

from groundrl.experiments.cli.data_cells import cells
from groundrl.experiments.cli.data_check import check

app = typer.Typer(help="Build and check data.", no_args_is_help=True)
app.command()(check)
app.command()(cells)
