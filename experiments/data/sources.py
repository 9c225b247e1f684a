"""What `data:` in a config names: a shipped source, a .jsonl file, a COCO file or a folder of masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from groundrl.experiments.data.cells import RenderedCells
from groundrl.experiments.data.coco import DEFAULT_ANSWER, CocoSource
from groundrl.experiments.data.crops import NucleiCrops
from groundrl.experiments.data.jsonl import JsonlSource
from groundrl.experiments.data.mask_source import mask_source
from groundrl.experiments.data.reports import report_example
from groundrl.experiments.data.values import refuse_unknown, shown
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
COCO_KEYS = ("coco", "images", "prompt", "answer")


def load_source(spec: str | Mapping[str, object], *, seed: int, base: Path) -> ExampleSource:
    """The examples that a config's `data.train` or `data.test` names.

    `spec`: a shipped source (`cells/rendered`, `cells/report`, `nuclei/train`, `nuclei/test`, `nuclei/report/train`,
    `nuclei/report/test`), the path of a .jsonl file, `{jsonl: path}`, or
    `{coco: path, images: folder, prompt: text, answer: template}` (`answer` may be left out), or
    `{masks: folder, images: folder, prompt: text, name: cell}` (more in `mask_source`). Paths are relative to `base`.
    `seed` picks the scenes and crops to train on; `nuclei/test` is the same 256 crops whatever the seed, so
    that runs can be compared. ValueError, with the nearest valid name, for anything else.
    """
    if isinstance(spec, str):
        return _named(spec, seed=seed, base=base)
    if "masks" in spec:
        return mask_source(spec, base=base)
    refuse_unknown(spec, ("jsonl", *COCO_KEYS), "key in `data`:")
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
        raise ValueError(f"`data` needs `jsonl`, or `coco`, `images` and `prompt`; it has no {', '.join(missing)}")
    images = _path(given["images"], base)
    if not images.is_dir():
        raise ValueError(f"there is no folder {images}, which `images` in `data` names; paths are relative to {base}")
    answer = given.get("answer", DEFAULT_ANSWER)
    return CocoSource(_path(given["coco"], base), images=images, prompt=given["prompt"], answer=answer)


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


def _path(name: str, base: Path) -> Path:
    return base / Path(name).expanduser()
