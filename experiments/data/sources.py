"""What `data:` in a config names: a shipped source, a .jsonl or COCO file, masks, or a published file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from groundrl.experiments.data.columns.column_map import load_map
from groundrl.experiments.data.columns.conversations import ConversationSource
from groundrl.experiments.data.columns.mapped import MappedSource
from groundrl.experiments.data.formats.box_json import SPACES
from groundrl.experiments.data.formats.coco import DEFAULT_ANSWER, CocoSource
from groundrl.experiments.data.formats.jsonl import JsonlSource
from groundrl.experiments.data.formats.mask_source import mask_source
from groundrl.experiments.data.formats.tables import open_table
from groundrl.experiments.data.formats.values import refuse_unknown, shown, text
from groundrl.experiments.data.shipped.cells import RenderedCells
from groundrl.experiments.data.shipped.crops import NucleiCrops
from groundrl.experiments.data.shipped.reports import report_example
from groundrl.rewards import ExampleSource
from groundrl.rewards.expression import nearest

SHIPPED: dict[str, Callable[[int], ExampleSource]] = {  # name -> source of a seed; test crops are always the same
    "cells/rendered": lambda seed: RenderedCells(seed=seed),
    "cells/report": lambda seed: RenderedCells(seed=seed, task=report_example),
    "nuclei/train": lambda seed: NucleiCrops("train", seed=seed),
    "nuclei/test": lambda seed: NucleiCrops("test", seed=0),
    "nuclei/report/train": lambda seed: NucleiCrops("train", seed=seed, task=report_example),
    "nuclei/report/test": lambda seed: NucleiCrops("test", seed=0, task=report_example),
}
READ_KEYS = ("read", "path", "images", "split", "template", "where", "space")
COCO_KEYS = ("coco", "images", "prompt", "answer")


def load_source(spec: str | Mapping[str, object], *, seed: int, base: Path) -> ExampleSource:
    """The examples that a config's `data.train` or `data.test` names.

    `spec`: a shipped source (a key of `SHIPPED`), the path of a .jsonl file, `{jsonl: path}`,
    `{coco: path, images: folder, prompt: text, answer: template}` (`answer` may be left out),
    `{masks: folder, images: folder, prompt: text, name: cell}` (more in `mask_source`), or
    `{read: reader, path: file}` (more in `read_source`). Paths are relative to `base`. `seed` picks the scenes and
    crops to train on; `nuclei/test` is the same 256 crops whatever the seed, so that runs can be compared. ValueError,
    with the nearest valid name, for anything else.
    """
    if isinstance(spec, str):
        return _named(spec, seed=seed, base=base)
    if "masks" in spec:
        return mask_source(spec, base=base)
    if "read" in spec:
        return read_source(spec, base=base)
    refuse_unknown(spec, ("read", "masks", "jsonl", *COCO_KEYS), "key in `data`:")
    for key, value in spec.items():
        if not isinstance(value, str):
            raise ValueError(f"`{key}` in `data` is text, got {shown(value)}")
    given = {key: str(value) for key, value in spec.items()}
    if "jsonl" in given:
        if len(given) > 1:
            raise ValueError(f"`jsonl` in `data` stands alone, got also {', '.join(sorted(set(given) - {'jsonl'}))}")
        return JsonlSource(_path(given["jsonl"], base))
    missing = [key for key in COCO_KEYS[:3] if key not in given]
    if missing:
        needs = "`read` and `path`, or `jsonl`, or `coco`, `images` and `prompt`"
        raise ValueError(f"`data` needs {needs}; it has no {', '.join(missing)}")
    images = _folder(given["images"], base)
    answer = given.get("answer", DEFAULT_ANSWER)
    return CocoSource(_path(given["coco"], base), images=images, prompt=given["prompt"], answer=answer)


def is_made(spec: object) -> bool:
    """Whether the examples are made, as many as one asks for, and not read from a file."""
    return isinstance(spec, str) and spec in SHIPPED and not spec.endswith("/test")


def read_source(spec: Mapping[str, object], *, base: Path) -> ExampleSource:
    """The examples of a published file: `{read: medqa, path: medqa/test.jsonl}`.

    `read`: the name of a shipped column map (`data/columns/maps`), the path of one's own (.yaml), a map written
    out, or `conversations` (VLM-R1, Qwen, sharegpt). `path`: a .jsonl, .json, .csv, .tsv or .parquet file, a folder
    that `datasets` has saved, or a pattern. May be left out: `images`, the folder to which image paths are relative
    (the map's folder beside the file); `split` of a `datasets` folder; `template`, the name of one of the task's
    prompts or a text with `{question}`; `where`, column -> value or values of the rows to take; and for
    conversations `space`, in which they write boxes. ValueError for anything else.
    """
    refuse_unknown(spec, READ_KEYS, "key in `data`:")
    talk = spec["read"] == "conversations"
    for key in ("template", "where") if talk else ("space",):
        if key in spec:
            raise ValueError(f"`{key}` in `data` is not for read: {shown(spec['read'])}; leave it out")
    given = {key: text(spec, key, f"{key}` in `data") for key in ("path", "images", "split", "template", "space")}
    if given["path"] is None:
        raise ValueError("`data` has no `path` for `read`; name the file, the folder or the pattern")
    columns = None if talk else load_map(spec["read"], base)
    path = _path(given["path"], base)
    table = open_table(path, split=given["split"])
    beside = path if path.is_dir() else path.parent
    images = _folder(given["images"], base) if given["images"] is not None else None
    if columns is None:
        if given["space"] is not None:
            refuse_unknown([given["space"]], SPACES, "space in `data`:")
        return ConversationSource(table, name=path.stem, images=images or beside, space=given["space"])
    where = spec.get("where", {})
    if not isinstance(where, Mapping):
        raise ValueError(f"`where` in `data` is {{column: value}}, got {shown(where)}")
    return MappedSource(
        table, columns, images=images or beside / columns.image_folder, template=given["template"], where=where
    )


def _named(name: str, *, seed: int, base: Path) -> ExampleSource:
    if name in SHIPPED:
        return SHIPPED[name](seed)
    if name.endswith(".jsonl"):
        return JsonlSource(_path(name, base))
    if name.endswith(".json"):
        raise ValueError(f"{name!r} is not .jsonl; a COCO file is given as {{coco: {name}, images: ..., prompt: ...}}")
    raise ValueError(
        f"there is no data {name!r}{nearest(name, list(SHIPPED))}; your own data is a path that ends in .jsonl"
    )


def _folder(name: str, base: Path) -> Path:
    folder = _path(name, base)
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}, which `images` in `data` names; paths are relative to {base}")
    return folder


def _path(name: str, base: Path) -> Path:
    return base / Path(name).expanduser()
