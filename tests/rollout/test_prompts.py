"""From an example to turns and images: where images go, and what is said of a faulty one."""

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groundrl.rewards import DataError, ImageRef
from groundrl.rollout.prompts import open_image, plain_text, with_images

HERE = {"type": "image"}


def words(text):
    return {"type": "text", "text": text}


def user(content):
    return {"role": "user", "content": content}


class TestMarks:
    def test_marks_become_images_where_they_stand(self):
        (turn,) = with_images([user("See <image> and <image>.")], 2, "e")
        assert turn["content"] == [words("See "), HERE, words(" and "), HERE, words(".")]

    def test_without_marks_images_lead_the_first_turn_of_the_user(self):
        turns = [{"role": "system", "content": "Be brief."}, user("Compare."), user("And now?")]
        contents = [turn["content"] for turn in with_images(turns, 2, "e")]
        assert contents == [[words("Be brief.")], [HERE, HERE, words("Compare.")], [words("And now?")]]

    def test_parts_that_the_data_gives_stay_as_they_are(self):
        parts = [HERE, words("One "), HERE]
        assert with_images([user(parts)], 2, "e") == [user(parts)]

    def test_without_images_nothing_changes(self):
        assert with_images([user("What is an <image> tag?")], 0, "e") == [user("What is an <image> tag?")]

    @pytest.mark.parametrize(("text", "count"), [("<image>", 2), ("<image><image>", 1), ("<image>" * 3, 2)])
    def test_another_number_of_marks_than_images_is_refused(self, text, count):
        with pytest.raises(DataError, match=rf"example 'e7' has {count} image\(s\) but \d <image> marks"):
            with_images([user(text)], count, "e7")

    def test_plain_text_puts_qwens_marks_where_the_images_go(self):
        turns = with_images([{"role": "system", "content": "Be brief."}, user("A <image> b")], 1, "e")
        assert plain_text(turns) == "Be brief.\nA <|vision_start|><|image_pad|><|vision_end|> b"


class TestOpening:
    def test_a_missing_file_is_named_with_its_example(self, tmp_path):
        with pytest.raises(DataError, match=r"example 'e7': there is no image .*/gone\.png"):
            open_image(ImageRef(source=tmp_path / "gone.png", width=4, height=4), "e7")

    @pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
    def test_an_unreadable_file_is_named_with_its_example(self, tmp_path, content):
        path = tmp_path / "broken.png"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"example 'e7': the image .*/broken\.png cannot be read"):
            open_image(ImageRef(source=path, width=4, height=4), "e7")

    def test_a_folder_is_no_image(self, tmp_path):
        with pytest.raises(DataError, match=r"example 'e7': the image .* cannot be read"):
            open_image(ImageRef(source=tmp_path, width=4, height=4), "e7")

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")
    @settings(max_examples=100, deadline=None)
    @given(data=st.data(), kind=st.sampled_from(["png", "jpeg", "gif", "bmp", "webp", "tiff"]))
    def test_no_damage_gets_past_the_clear_error(self, data, kind):
        """Cut anywhere, or with bytes overwritten: the picture, or a DataError; never anything else."""
        buffer = io.BytesIO()
        Image.new("RGB", (9, 7), (10, 200, 30)).save(buffer, format=kind)
        content = bytearray(buffer.getvalue()[: data.draw(st.integers(0, len(buffer.getvalue())), label="cut")])
        for place in data.draw(st.lists(st.integers(0, max(0, len(content) - 1)), max_size=4), label="places"):
            if content:
                content[place] = data.draw(st.integers(0, 255))
        with contextlib.suppress(DataError):
            assert open_image(ImageRef(source=bytes(content), width=9, height=7), "e7").mode == "RGB"

    @pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "I;16", "CMYK", "1"])
    def test_every_mode_becomes_rgb(self, tmp_path: Path, mode):
        path = tmp_path / "image.tiff"
        Image.new(mode, (5, 3)).save(path)
        opened = open_image(ImageRef(source=path, width=5, height=3), "e")
        assert (opened.mode, opened.size) == ("RGB", (5, 3))

    def test_an_orientation_tag_does_not_turn_the_pixels_in_which_boxes_are_given(self):
        exif = Image.Exif()
        exif[0x0112] = 6  # "turn by 90 degrees to show"
        buffer = io.BytesIO()
        Image.new("RGB", (8, 4)).save(buffer, format="jpeg", exif=exif)
        assert open_image(ImageRef(source=buffer.getvalue(), width=8, height=4), "e").size == (8, 4)
