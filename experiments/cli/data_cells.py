"""`groundrl data cells`: the benchmark builder on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def cells(
    images: Annotated[Path, typer.Argument(help="A folder of microscopy pictures, or one picture.")],
    masks: Annotated[Path, typer.Argument(help="A folder of masks of the same names, or one mask.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    name: Annotated[str | None, typer.Option(help="Instance masks: each value is one object of this class.")] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class masks: 1=erythrocyte,2=spirochaete (0xff0000=... for colours).")
    ] = None,
    min_area: Annotated[int, typer.Option(min=1, help="Pixels below which an object does not count.")] = 1,
    size: Annotated[int, typer.Option(help="Pixels of a crop's side.")] = 256,
    crops: Annotated[int, typer.Option(help="How many crops, train and test together.")] = 1000,
    test_share: Annotated[float, typer.Option(help="Share of the regions and of the crops that is for test.")] = 0.25,
    negatives: Annotated[float, typer.Option(help="Share of the crops without an object.")] = 0.1,
    split: Annotated[str, typer.Option(help="image: whole pictures; region: a grid over each picture.")] = "image",
    prompt: Annotated[str | None, typer.Option(help="The question of every crop.")] = None,
    answer: Annotated[str | None, typer.Option(help="Template of the gold answer.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the split and the crops.")] = 0,
    overwrite: Annotated[bool, typer.Option(help="Replace a benchmark of the same name.")] = False,
) -> None:
    """Cut microscopy IMAGES with MASKS into a grounding benchmark: train and test crops, and a data card."""
    from groundrl.experiments.data.cells_benchmark.benchmark import build_cells
    from groundrl.experiments.data.cells_benchmark.sample import CellSettings
    from groundrl.experiments.data.formats.mask_source import MaskReading

    if split not in ("image", "region"):
        raise ValueError(f"--split is image or region, got {split!r}")
    texts = {key: value for key, value in (("prompt", prompt), ("answer", answer)) if value is not None}
    settings = CellSettings(
        size=size,
        crops=crops,
        test_share=test_share,
        negatives=negatives,
        split=split,  # type: ignore[arg-type]  # one of the two, as checked
        seed=seed,
        **texts,
    )
    reading = MaskReading(name=name, classes=None if classes is None else parse_classes(classes), min_area=min_area)
    made = build_cells(images, masks, out, reading=reading, settings=settings, overwrite=overwrite)
    drawn = {split: len(found) for split, found in made.splits.items()}
    typer.echo(f"{drawn['train']} train and {drawn['test']} test crops")
    if sum(drawn.values()) < crops:
        typer.echo(f"{crops} were asked for: there are too few candidates (README.md counts them)")
    for file in ("train.jsonl", "test.jsonl", "README.md", "histograms.png"):
        typer.echo(f"  {out / file}")


def parse_classes(text: str) -> dict[int, str]:
    """`1=erythrocyte,2=spirochaete,3=` as a mapping; a value may be written `0xff0000`, an empty name leaves it out."""
    found: dict[int, str] = {}
    for piece in text.split(","):
        value, equals, name = piece.partition("=")
        try:
            number = int(value, 0)
        except ValueError:
            number = -1
        if not equals or number < 0 or number in found:
            raise ValueError(f"--classes gives each value one name, such as 1=cell,2=rod; got {piece!r} in {text!r}")
        found[number] = name.strip()
    return found
