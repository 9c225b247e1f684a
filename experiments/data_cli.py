"""`groundrl data ...`: what is done with data before a run."""

from __future__ import annotations

import typer

from groundrl.experiments.cells_cli import cells
from groundrl.experiments.check_cli import check

app = typer.Typer(help="Build and check data.", no_args_is_help=True)
app.command()(check)
app.command()(cells)
