"""One group as a row of small pictures with boxes, for loggers; drawn in milliseconds, while training waits."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from groundrl.experiments.drawing.boxes import PREDICTED_COLOUR, TRUE_COLOUR
from groundrl.experiments.drawing.brightness import brightened
from groundrl.rewards import Boxes, Group, pixel
from groundrl.rollout.io.pictures import open_image

SIDE, SHOWN = 192, 8  # pixels of a tile; completions of a group


def contact_sheet(group: Group) -> np.ndarray | None:
    """`[height, width, 3]` of bytes: the example's image once a completion, true and predicted boxes on it.

    None for an example without images.
    """
    if not group.example.images:
        return None
    ref = group.example.images[0]
    base = Image.fromarray((brightened(open_image(ref, group.example.id)) * 255).astype(np.uint8)).convert("RGB")
    scale = SIDE / max(base.size)
    size = (max(1, round(base.width * scale)), max(1, round(base.height * scale)))
    base = base.resize(size, Image.Resampling.NEAREST)
    tiles = []
    for completion in group.completions[:SHOWN]:
        tile = base.copy()
        draw = ImageDraw.Draw(tile)
        for boxes, colour in ((group.example.reference.boxes, TRUE_COLOUR), (completion.boxes, PREDICTED_COLOUR)):
            for corners in _corners(boxes, tile.width, tile.height):
                draw.rectangle(corners, outline=colour, width=2)
        tiles.append(np.asarray(tile))
    return np.concatenate(tiles, axis=1)


def captions(group: Group) -> str:
    """One line a completion: its total and its text."""
    scores = group.scores or ()
    return "\n".join(
        f"{'-' if score.value is None else format(score.value, '.3f')}  {' '.join(completion.text.split())}"
        for completion, score in zip(group.completions[:SHOWN], scores, strict=False)
    )


def _corners(boxes: Boxes | None, width: int, height: int) -> list[list[float]]:
    """Corners in pixels of the tile; an inverted box cannot be drawn."""
    found = boxes.to(pixel(width, height)).xyxy.clip(-1e4, 1e4).tolist() if boxes is not None else []
    return [box for box in found if box[2] > box[0] and box[3] > box[1]]
