"""Answers to one's own images: the text, the boxes in pixels of the original, and a picture with them drawn in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.data.formats.box_json import SPACES, declared_space
from groundrl.experiments.data.seen_pixels import as_the_model_writes
from groundrl.experiments.drawing.boxes import PREDICTED_COLOUR
from groundrl.experiments.drawing.brightness import brightened
from groundrl.experiments.evals.models import boxes_of, open_engine
from groundrl.rewards import FORMATS, Boxes, Completion, DataError, Example, ImageRef, pixel
from groundrl.rewards.expression import nearest
from groundrl.rollout.io.pictures import open_image
from groundrl.rollout.io.records import settle, write_text
from groundrl.rollout.sampling.engine import Engine
from groundrl.rollout.settings import Sampling

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
BATCH = 16


def predict(
    model: str,
    images: Sequence[Path],
    question: str,
    *,
    out: Path,
    max_new_tokens: int = 512,
    box_space: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Ask one question of each image; yield what is written to `out`, as soon as it is there, or the `error` of one.

    For each image `NAME.json` (text, label, boxes `[x1, y1, x2, y2]` in pixels of the original, why there are none)
    and, where there are boxes, `NAME.png`. `box_space` is the one in which the model writes: rel1000, rel1, `pixel`
    of the original image, or a box format such as `gemini`; without it that of the run that the model is of.
    """
    if box_space is None:
        box_space = boxes_of(model)
    writings = ("as_data", "seen_pixels", *SPACES, *FORMATS)
    if box_space not in writings:
        raise ConfigError(f"there is no box space {box_space!r}{nearest(box_space, list(writings))}")
    named = list(zip(_names(images), images, strict=True))
    engine = open_engine(model, batch_size=BATCH)
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=0.0)
    for start in range(0, len(named), BATCH):
        names, batch = [], []
        for name, path in named[start : start + BATCH]:
            try:
                batch.append(_example(path, question, box_space, engine))
            except DataError as error:
                yield {"image": str(path), "error": str(error)}
                continue
            names.append(name)
        if not batch:
            continue
        keys = [f"0/predict/{example.id}" for example in batch]
        groups = engine.generate(batch, group_size=1, sampling=sampling, seed_keys=keys)
        for group in sorted(groups, key=lambda group: group.index):
            found = prediction(group.example, group.completions[0])
            yield _written(found, group.example, out / names[group.index])
        for index, reason in sorted(engine.failures.items()):
            yield {"image": batch[index].id, "error": reason}


def prediction(example: Example, completion: Completion) -> dict[str, Any]:
    """What was answered, with boxes in pixels of the original; `boxes` is null where they cannot be read."""
    image = example.images[0]
    boxes = completion.boxes
    pixels = None if boxes is None else boxes.to(pixel(image.width, image.height))
    return {
        "image": example.id,
        "width": image.width,
        "height": image.height,
        "question": example.prompt,
        "text": completion.text,
        "label": completion.label,
        "boxes": None if pixels is None else _listed(pixels),
        "box_status": completion.parsed_boxes.status,
        "finish_reason": completion.finish_reason,
    }


def draw_prediction(example: Example, found: dict[str, Any]) -> Image.Image:
    """The original image in RGB, stretched in brightness where it is dark, with the boxes and their labels."""
    bright = (brightened(open_image(example.images[0], example.id)) * 255).astype(np.uint8)
    picture = Image.fromarray(bright).convert("RGB")
    scale = max(1, round(512 / max(picture.size)))  # a small image is drawn larger, or lines would hide it
    picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(picture)
    line = max(2, round(max(picture.size) / 300))
    height = max(12, 6 * line)
    font = ImageFont.load_default(size=height)
    for box in found["boxes"] or ():
        x1, y1, x2, y2 = (scale * float(np.clip(value, -1e5, 1e5)) for value in box["xyxy"])
        if x2 > x1 and y2 > y1:
            draw.rectangle([x1, y1, x2, y2], outline=PREDICTED_COLOUR, width=line)
            if box["label"]:
                above = max(0.0, y1 - 1.2 * height)
                draw.text(
                    (x1, above), box["label"], fill=PREDICTED_COLOUR, font=font, stroke_width=1, stroke_fill="black"
                )
    return picture


def images_at(paths: Sequence[Path]) -> list[Path]:
    """The images that paths name: files as they are, a folder's images by name. ConfigError where there are none."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.iterdir() if each.suffix.lower() in SUFFIXES)
            if not inside:
                raise ConfigError(f"the folder {path} has no images ({', '.join(SUFFIXES)})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise ConfigError(f"there is no image {path}")
    if not found:
        raise ConfigError("name an image, a folder of images, or give paths on standard input")
    return found


def _example(path: Path, question: str, box_space: str, engine: Engine) -> Example:
    image = open_image(ImageRef(source=path, width=1, height=1), str(path))
    ref = ImageRef(source=path, width=image.width, height=image.height)
    example = Example(id=str(path), prompt=question, images=(ref,))
    if box_space in SPACES:
        return replace(example, box_space=declared_space(box_space, (ref,)))
    return as_the_model_writes([example], engine.policy, box_space)[0]


def _names(images: Sequence[Path]) -> list[str]:
    """A file's name for each image, numbered where two images have the same."""
    seen: dict[str, int] = {}
    names = []
    for path in images:
        seen[path.stem] = seen.get(path.stem, 0) + 1
        names.append(path.stem if seen[path.stem] == 1 else f"{path.stem}-{seen[path.stem]}")
    return names


def _listed(boxes: Boxes) -> list[dict[str, Any]]:
    labels = boxes.labels or (None,) * len(boxes)
    scores = boxes.scores or (None,) * len(boxes)
    return [
        {"xyxy": [round(value, 2) for value in xyxy], "label": label, "score": score}
        for xyxy, label, score in zip(boxes.xyxy.tolist(), labels, scores, strict=True)
    ]


def _written(found: dict[str, Any], example: Example, path: Path) -> dict[str, Any]:
    """Write the files of one image and name the picture."""
    picture = None
    if found["boxes"]:
        picture = path.with_name(f"{path.name}.png")
        picture.parent.mkdir(parents=True, exist_ok=True)
        partial = picture.with_name(f".{picture.name}.partial")
        draw_prediction(example, found).save(partial, format="png")
        settle(partial, picture)
    result = {**found, "picture": str(picture) if picture is not None else None}
    write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", path.with_name(f"{path.name}.json"))
    return result
