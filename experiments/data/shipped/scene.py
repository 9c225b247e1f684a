"""What the shipped data share: from an instance mask and its picture to a scene, and the grounding task of a scene."""

from __future__ import annotations

import io
from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8
from PIL import Image

from groundrl.experiments.data.formats.masks import mask_boxes, visible_objects
from groundrl.experiments.tasks.grounding import GROUNDING, WRITTEN
from groundrl.experiments.tasks.task import Fields
from groundrl.rewards import Boxes, Example, ImageRef, pixel


def grounding_answer(boxes: Boxes, *, singular: str, plural: str) -> tuple[str, str]:
    """`(label, answer)` of a grounding task in MedMO's format: `2 nuclei <box>[[010, 012, 080, 095], ...]</box>`."""
    label = f"{len(boxes)} {singular if len(boxes) == 1 else plural}"
    return label, f"{label} {WRITTEN.gold(boxes)}"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A picture and what is known of it: the boxes in pixels of the objects that count, and how many are mitotic."""

    id: str
    picture: UInt8[np.ndarray, "h w"]
    boxes: Float[np.ndarray, "N 4"]
    mitotic: int
    block: str

    @property
    def truth(self) -> Boxes:
        """The boxes in the picture's pixels."""
        height, width = self.picture.shape
        return Boxes(xyxy=self.boxes, space=pixel(float(width), float(height)))

    @property
    def image(self) -> ImageRef:
        """The picture as PNG bytes."""
        buffer = io.BytesIO()
        Image.fromarray(self.picture).save(buffer, format="png", compress_level=1)
        return ImageRef(source=buffer.getvalue(), width=self.picture.shape[1], height=self.picture.shape[0])

    def fields(self, **stated: Any) -> Fields:
        """What is known of it, and what is stated, as a task takes it."""
        dataset = self.id.partition("/")[0]
        return Fields(id=self.id, dataset=dataset, images=(self.image,), boxes=self.truth, block=self.block, **stated)


def scene_of(
    *,
    id: str,
    picture: UInt8[np.ndarray, "h w"],
    mask: Int[np.ndarray, "h w"],
    full_areas: Int[np.ndarray, "ids"],
    mitotic: Set[int],
    block: str,
) -> Scene:
    """The scene of a picture and the cut-out of an instance mask; `mitotic` are the ids of mitotic figures."""
    shown = visible_objects(mask, full_areas)
    return Scene(id=id, picture=picture, boxes=mask_boxes(mask, shown), mitotic=len(mitotic & set(shown)), block=block)


def grounding_example(scene: Scene) -> Example:
    """The grounding task of a scene: truth in pixels, gold answer in rel1000."""
    answer = grounding_answer(scene.truth, singular="nucleus", plural="nuclei")[1]
    return GROUNDING.example(scene.fields(target="nuclei", answer=answer), template="the_image")
