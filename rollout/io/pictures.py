"""Opened images of an example. A picture file is a stranger's: whatever is wrong with it becomes one clear error."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from groundrl.rewards import DataError, ImageRef


@contextmanager
def damage_as_os_error() -> Iterator[None]:
    """Around Pillow's calls: whatever a damaged file makes it raise becomes an OSError.

    Its parsers raise ValueError, SyntaxError, NotImplementedError and more, another set in each release.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(str(error) or type(error).__name__) from error


def open_image(image: ImageRef, example_id: str) -> Image.Image:
    """The image in RGB as stored (boxes are in those pixels), or a DataError that names the example and the path."""
    return _opened(image, example_id, lambda opened: opened.convert("RGB"))


def stored_image(image: ImageRef, example_id: str) -> Image.Image:
    """The image in RGB where it has 8 bits, else in its own mode (`I;16`, `F`): no two depths become the same."""
    return _opened(image, example_id, lambda opened: opened.copy() if opened.mode[0] in "IF" else opened.convert("RGB"))


def _opened(image: ImageRef, example_id: str, read: Callable[[Image.Image], Image.Image]) -> Image.Image:
    where = image.source if isinstance(image.source, Path) else f"{len(image.source)} bytes"
    try:
        with damage_as_os_error():
            return read(Image.open(image.source if isinstance(image.source, Path) else io.BytesIO(image.source)))
    except FileNotFoundError:
        raise DataError(f"example {example_id!r}: there is no image {where}") from None
    except OSError as error:
        raise DataError(f"example {example_id!r}: the image {where} cannot be read: {error}") from None
