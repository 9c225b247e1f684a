"""How a command ends: what a run left behind, and one sentence for what stopped it."""

from __future__ import annotations

from pathlib import Path

import typer


class Recoverable:
    """Turns an interruption or a full disk into one sentence that says what is kept and how to go on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not self.folder.is_dir() or not (self.folder / "config.yaml").is_file():
            return
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which --help does without
            first = str(error).split(". ")[0]
            typer.echo(
                f"\n{first}: in {self.folder / 'config.yaml'} lower the stage's micro_batch_tokens (rl) or "
                "micro_batch_size (sft), set model.gradient_checkpointing or give model.lora, and "
                f"go on with: groundrl resume {self.folder} --allow-changed",
                err=True,
            )
            raise SystemExit(1)
        if isinstance(error, KeyboardInterrupt | OSError):
            what = "interrupted" if isinstance(error, KeyboardInterrupt) else f"stopped by the system: {error}"
            typer.echo(f"\n{what}; what was recorded lies in {self.folder}", err=True)
            typer.echo(f"go on with: groundrl resume {self.folder}", err=True)
            raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1)


def close(folder: Path) -> None:
    """Print what a run ended with, and where it lies."""
    from rich.console import Console

    from groundrl.experiments.cli.difference_table import difference_table
    from groundrl.experiments.runs.reader import Run

    console = Console()
    if (folder / "evaluation.json").is_file():
        console.print(difference_table(Run(folder).evaluation))
    for name in ("metrics.jsonl", "evaluation.json", "curves.png", "summary.png", "checkpoints", "rollouts"):
        if (folder / name).exists():
            console.print(f"  {folder / name}")
