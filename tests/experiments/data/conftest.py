"""Small files to read."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groundrl.experiments.data import JsonlSource


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., Path]:
    """`picture("a.png", width, height)` writes an image of that size beside the data."""

    def write(name: str, width: int = 40, height: int = 20) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.arange(width * height) % 251).astype(np.uint8).reshape(height, width)).save(path)
        return path

    return write


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., JsonlSource]:
    """`jsonl(record_or_line, ...)` writes a file with these lines and opens it."""

    def write(*lines: object) -> JsonlSource:
        path = tmp_path / "data.jsonl"
        path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return JsonlSource(path)

    return write
