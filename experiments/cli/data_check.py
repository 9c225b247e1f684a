"""`groundrl data check`. Every import that takes time waits until the command runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from groundrl.experiments.config.run import RunConfig
    from groundrl.experiments.data.check.faults import Split
    from groundrl.rollout.model.policy import Policy


def check(
    what: Annotated[
        list[str],
        typer.Argument(help="A configuration; or data as in one, each a split: a.jsonl '{read: medqa, path: ...}'."),
    ],
    limit: Annotated[int | None, typer.Option(min=1, help="Examples of a split to read; all by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of data that is made.")] = 0,
    out: Annotated[Path, typer.Option(help="Where check.json and the pictures go.")] = Path("data_check"),
    as_json: Annotated[bool, typer.Option("--json", help="Print check.json instead of tables.")] = False,
) -> None:
    """Read all data of WHAT: counts, labels, token lengths, every fault with its line, leaks between the splits.

    Exit code 0: the data are sound; 1: a fault or a leak; 2: bad input.
    """
    import json

    from rich.console import Console

    from groundrl.experiments.data.check.faults import check_data
    from groundrl.experiments.data.check.files import tables, write_check

    splits, policy = splits_of(what, seed=seed)
    report = check_data(splits, policy=policy, limit=limit)
    files = write_check(report, out)
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        console = Console()
        for each in [*tables(report), *(f"  {file}" for file in files)]:
            console.print(each, soft_wrap=True)
    raise typer.Exit(0 if report.sound else 1)


def splits_of(what: Sequence[str], *, seed: int) -> tuple[list[Split], Policy | None]:
    """The splits of a configuration and what reads its prompts; or each of several data as a split of its own."""
    from groundrl.experiments.audit.command import data_spec
    from groundrl.experiments.config.load import RECIPES, load_config
    from groundrl.experiments.data.check.faults import Split
    from groundrl.experiments.data.sources import is_made, load_source

    recipe = RECIPES / f"{what[0]}.yaml"
    if len(what) == 1 and (Path(what[0]).suffix in (".yaml", ".yml") or recipe.is_file()):
        config, base = load_config(what[0], {})
        named = config_data(config)
        policy: Policy | None = prompt_reader(config, base)
        seed = config.seed
    else:
        named = _distinct([(each, data_spec(each), True) for each in what])
        base, policy = Path.cwd(), None
    splits = [
        Split(name=name, source=load_source(spec, seed=seed, base=base), held_out=held_out, made=is_made(spec))
        for name, spec, held_out in named
    ]
    return splits, policy


def config_data(config: RunConfig) -> list[tuple[str, str | Mapping[str, Any], bool]]:
    """`(name, data, held out)` of each part of a configuration's data, once: the stages', then what is held out."""
    data = config.data.model_dump()
    used = [(stage.name, stage.data.train if stage.data is not None else config.data.train) for stage in config.stages]
    parts = [(name, part) for name, spec in used for part in _parts(spec)]
    names: dict[str, list[str]] = {}
    for name, part in parts:
        names.setdefault(repr(part), []).append(name)
    found = {repr(part): (", ".join(dict.fromkeys(names[repr(part)])), part, False) for _, part in parts}
    held_out = [(key, data[key], True) for key in ("validation", "test") if data.get(key) is not None]
    return _distinct([*found.values(), *held_out])


def _parts(spec: Any) -> list[Any]:
    """The data of a mixture, or the one."""
    return [part.data for part in spec] if isinstance(spec, tuple) else [spec]


def _distinct(named: Sequence[tuple[str, Any, bool]]) -> list[tuple[str, Any, bool]]:
    """The same with names that differ: the parts of a stage's mixture are numbered."""
    names = [name for name, _, _ in named]
    counts = dict.fromkeys(names, 0)
    result = []
    for name, spec, held_out in named:
        counts[name] += 1
        numbered = f"{name} {counts[name]}" if names.count(name) > 1 else name
        result.append((numbered, spec, held_out))
    return result


def prompt_reader(config: RunConfig, base: Path) -> Policy:
    """The configuration's policy without its weights: it encodes prompts and does nothing else."""
    from accelerate import init_empty_weights

    from groundrl.experiments.config.model import model_path
    from groundrl.rollout.model.policy import Policy

    with init_empty_weights():
        return Policy.load(
            model_path(config.model.path, base), init="random", chat_template_kwargs=config.model.chat_template_kwargs
        )
