"""Every reader of pictures says of a damaged file which it is, whatever Pillow raises for it."""

from pathlib import Path

import pytest

from groundrl.experiments.data.cells_benchmark.sample import open_eight_bit
from groundrl.experiments.data.columns.values import images_of
from groundrl.experiments.data.formats.image_json import header_size
from groundrl.experiments.data.formats.masks import read_mask


@pytest.fixture
def file(damaged_picture, tmp_path) -> Path:
    path = tmp_path / "damaged.png"
    path.write_bytes(damaged_picture)
    return path


def test_of_a_mask(file):
    with pytest.raises(ValueError, match=r"^the mask .*damaged\.png cannot be read: .*; replace it$"):
        read_mask(file, width=9, height=7)


def test_of_a_microscopy_picture(file):
    with pytest.raises(ValueError, match=r"^the picture .*damaged\.png cannot be read: .*; replace it$"):
        open_eight_bit(file)


def test_of_a_header(file, request):
    if request.node.callspec.id in ("SyntaxError", "OSError"):  # the damage is in the pixels
        assert header_size(file) == (9, 7)
    else:
        with pytest.raises(ValueError, match=r"^the image .*damaged\.png cannot be read: .*; replace it, or remove"):
            header_size(file)


def test_of_bytes_in_a_table(file, request):
    if request.node.callspec.id in ("SyntaxError", "OSError"):
        assert images_of(file.read_bytes(), "image", file.parent)[0].width == 9
    else:
        with pytest.raises(ValueError, match=r"^the picture in `image` cannot be read: "):
            images_of(file.read_bytes(), "image", file.parent)
