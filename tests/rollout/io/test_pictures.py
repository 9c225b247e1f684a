"""What is said of a faulty picture file, and how pictures of each kind are opened."""

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groundrl.rewards import DataError, ImageRef
from groundrl.rollout.io.pictures import open_image


def test_a_missing_file_is_named_with_its_example(tmp_path):
    with pytest.raises(DataError, match=r"example 'e7': there is no image .*/gone\.png"):
        open_image(ImageRef(source=tmp_path / "gone.png", width=4, height=4), "e7")


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_an_unreadable_file_is_named_with_its_example(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"example 'e7': the image .*/broken\.png cannot be read"):
        open_image(ImageRef(source=path, width=4, height=4), "e7")


def test_whatever_pillow_raises_is_the_clear_error(damaged_picture):
    with pytest.raises(DataError, match=r"example 'e7': the image \d+ bytes cannot be read: \w"):
        open_image(ImageRef(source=damaged_picture, width=9, height=7), "e7")


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(DataError, match=r"example 'e7': the image .* cannot be read"):
        open_image(ImageRef(source=tmp_path, width=4, height=4), "e7")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=100)
@given(data=st.data(), kind=st.sampled_from(["png", "jpeg", "gif", "bmp", "webp", "tiff"]))
def test_no_damage_gets_past_the_clear_error(data, kind):
    """Cut anywhere, or with bytes overwritten: the picture, or a DataError; never anything else."""
    buffer = io.BytesIO()
    Image.new("RGB", (9, 7), (10, 200, 30)).save(buffer, format=kind)
    content = bytearray(buffer.getvalue()[: data.draw(st.integers(0, len(buffer.getvalue())), label="cut")])
    for index in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=4), label="places"):
        if content:
            content[index] = data.draw(st.integers(0, 255))
    with contextlib.suppress(DataError):
        assert open_image(ImageRef(source=bytes(content), width=9, height=7), "e7").mode == "RGB"


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16", "CMYK", "1"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode):
    path = tmp_path / "image.tiff"
    Image.new(mode, (5, 3)).save(path)
    opened = open_image(ImageRef(source=path, width=5, height=3), "e")
    assert (opened.mode, opened.size) == ("RGB", (5, 3))


def test_an_orientation_tag_does_not_turn_the_pixels_in_which_boxes_are_given():
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn by 90 degrees to show"
    buffer = io.BytesIO()
    Image.new("RGB", (8, 4)).save(buffer, format="jpeg", exif=exif)
    assert open_image(ImageRef(source=buffer.getvalue(), width=8, height=4), "e").size == (8, 4)
