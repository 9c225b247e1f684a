"""Pictures made brighter for the eye."""

from __future__ import annotations

import numpy as np
from PIL import Image


def brightened(image: Image.Image) -> np.ndarray:
    """An image as numbers in [0, 1], its contrast stretched for the eye; the model sees the original."""
    array = np.asarray(image, dtype=np.float64)
    low, high = np.percentile(array, (0.5, 99.5))
    stretched: np.ndarray = np.clip((array - low) / max(high - low, 1.0), 0, 1)
    return stretched
