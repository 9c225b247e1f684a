"""The names of the parts of a model that a stage may freeze; checked without a model."""

from __future__ import annotations

import re
from collections.abc import Sequence

PARTS = ("vision", "merger", "language", "embeddings")  # and layers.0-11
LAYERS = re.compile(r"layers\.(\d{1,4})(?:-(\d{1,4}))?")


def check_parts(parts: Sequence[str]) -> None:
    """ValueError for a name that no model has: see `freeze`."""
    for part in parts:
        found = LAYERS.fullmatch(part)
        if part not in PARTS and (found is None or int(found[2] or found[1]) < int(found[1])):
            raise ValueError(f"freeze: there is no part {part!r}; choose from {', '.join(PARTS)}, or layers.0-11")
