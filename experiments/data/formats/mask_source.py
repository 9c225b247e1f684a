"""Examples from a folder of pictures and a folder of masks: one for each picture, with a gold answer by a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from groundrl.experiments.data.formats.coco import DEFAULT_ANSWER, boxes_example, check_template
from groundrl.experiments.data.formats.image_json import header_size
from groundrl.experiments.data.formats.masks import Instances, class_instances, read_mask, value_instances
from groundrl.experiments.data.formats.values import refuse_unknown, shown
from groundrl.rewards import DataError, Example, ImageRef

SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg")
KEYS = ("masks", "images", "prompt", "answer", "name", "classes", "min_area")


@dataclass(frozen=True, kw_only=True)
class MaskReading:
    """How the values of a mask are read: either `name`, the class of all objects of instance masks, or `classes`.

    `classes` gives the name of each value of class masks, an empty one to leave the value out. Objects of fewer than
    `min_area` pixels do not count.
    """

    name: str | None = None
    classes: Mapping[int, str] | None = None
    min_area: int = 1

    def __post_init__(self) -> None:
        if (not self.name) == (not self.classes):
            raise ValueError(
                "say what the masks hold: either `name`, where each value is one object, or `classes`, where each "
                "value is a class and its connected pieces are the objects"
            )

    @property
    def names(self) -> list[str]:
        """Every class, once."""
        return [self.name] if self.name else [name for name in dict.fromkeys((self.classes or {}).values()) if name]

    def read(self, path: Path, *, width: int, height: int) -> Instances:
        """The objects in a mask file. ValueError where it cannot be used."""
        mask = read_mask(path, width=width, height=height)
        if self.classes:
            return class_instances(mask, classes=self.classes, min_area=self.min_area, where=f"the mask {path}")
        return value_instances(mask, name=self.name or "", min_area=self.min_area)


class MaskSource:
    """The pictures of a folder as examples, in the order of their names; those without objects are negatives.

    The mask of `a.jpg` is `a.png` (or another suffix) in the folder of masks. The reference has the boxes in pixels
    with their classes; `answer` is the template of the gold answer, as in `CocoSource`. ValueError for folders whose
    files do not pair; what is wrong with one mask is a DataError when that picture is asked for.
    """

    def __init__(
        self, images: Path, *, masks: Path, reading: MaskReading, prompt: str, answer: str = DEFAULT_ANSWER
    ) -> None:
        check_template(answer)
        self.pairs = pair_files(images, masks)
        self.reading = reading
        self.prompt = prompt
        self.answer = answer

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(index)
        picture, mask = self.pairs[index]
        try:
            width, height = header_size(picture)
            boxes = self.reading.read(mask, width=width, height=height).boxes()
        except ValueError as error:
            raise DataError(f"example {picture.stem!r}: {error}") from None
        return boxes_example(
            id=picture.stem,
            dataset=picture.parent.name,
            image=ImageRef(source=picture, width=width, height=height),
            boxes=boxes,
            names=self.reading.names,
            prompt=self.prompt,
            answer=self.answer,
            block=picture.stem,
        )


def pair_files(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """`(picture, mask)` of equal names up to the suffix, sorted by name; or of two single files.

    ValueError where a picture has no mask, a mask no picture, or two files share a name.
    """
    if images.is_file() and masks.is_file():
        return [(images, masks)]
    pictures, drawn = _by_stem(images), _by_stem(masks)
    for left, right, what, other in ((pictures, drawn, "picture", "mask"), (drawn, pictures, "mask", "picture")):
        alone = sorted(left.keys() - right.keys())
        if alone:
            where = masks if what == "picture" else images
            more = f" (nor have {len(alone) - 1} others)" if len(alone) > 1 else ""
            raise ValueError(
                f"the {what} {left[alone[0]]} has no {other} in {where}{more}; a mask has the name of its picture, "
                "up to the suffix"
            )
    return [(pictures[stem], drawn[stem]) for stem in sorted(pictures)]


def mask_source(spec: Mapping[str, object], *, base: Path) -> MaskSource:
    """The source of `{masks: folder, images: folder, prompt: text, name: cell}` in a configuration's `data`.

    In place of `name` may stand `classes: {1: erythrocyte, 2: spirochaete}`; `answer` and `min_area` may be added.
    Paths are relative to `base`. ValueError for anything else.
    """
    refuse_unknown(spec, KEYS, "key in `data`:")
    for key in ("masks", "images", "prompt"):
        if key not in spec:
            raise ValueError(f"`data` with masks has no `{key}`; it needs `masks`, `images` and `prompt`")
    for key in ("masks", "images", "prompt", "answer", "name"):
        if not isinstance(spec.get(key, ""), str):
            raise ValueError(f"`{key}` in `data` is text, got {shown(spec[key])}")
    classes, min_area = spec.get("classes"), spec.get("min_area", 1)
    named = isinstance(classes, Mapping) and all(type(k) is int and isinstance(v, str) for k, v in classes.items())
    if classes is not None and not named:
        raise ValueError(f"`classes` in `data` gives whole numbers names, such as {{1: cell}}, got {shown(classes)}")
    if type(min_area) is not int:
        raise ValueError(f"`min_area` in `data` is a whole number of pixels, got {shown(min_area)}")
    folders = {key: base / Path(str(spec[key])).expanduser() for key in ("images", "masks")}
    return MaskSource(
        folders["images"],
        masks=folders["masks"],
        reading=MaskReading(name=spec.get("name"), classes=classes, min_area=min_area),  # type: ignore[arg-type]  # checked above
        prompt=str(spec["prompt"]),
        answer=str(spec.get("answer", DEFAULT_ANSWER)),
    )


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}; name a folder of pictures and one of masks, or one file each")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.name[0] != ".")
    if not files:
        raise ValueError(f"the folder {folder} holds no {', '.join(SUFFIXES)}")
    found: dict[str, Path] = {}
    for file in files:
        if file.stem in found:
            raise ValueError(f"{found[file.stem]} and {file} have one name; keep one of them, or rename it")
        found[file.stem] = file
    return found
