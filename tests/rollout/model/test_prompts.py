"""From an example to turns and images: where images go, and what is said of a faulty one."""

import pytest

from groundrl.rewards import DataError
from groundrl.rollout.model.prompts import plain_text, with_images

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
