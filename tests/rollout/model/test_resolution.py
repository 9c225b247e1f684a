"""How large an image is when the model sees it, and the boxes in those pixels."""

import numpy as np
import pytest

from groundrl.experiments.data.seen_pixels import SeenPixels, as_the_model_writes, rewritten
from groundrl.rewards import FORMATS, Boxes, Completion, DataError, Example, Reference, SoftF1, pixel, rel1000
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.resolution import seen_size, seen_space, set_resolution
from groundrl.rollout.settings import Resolution


def test_an_image_has_as_many_tokens_as_the_range_allows(vl_policy, vl_examples):
    """Sides are rounded to whole tokens, and then the number of pixels lies in the range."""
    processor = vl_policy.image_processor
    side = processor.patch_size * processor.merge_size
    example = vl_examples[0]
    for tokens in (4, 16, 64):
        pixels = tokens * side**2
        set_resolution(vl_policy, Resolution(min_pixels=pixels // 2, max_pixels=pixels))
        prompt = vl_policy.encode(example)
        assert tokens // 2 <= int(prompt.image_tokens.sum()) <= tokens * example_images(example)
        width, height = seen_size(vl_policy, example.images[0].width, example.images[0].height)
        assert width % side == height % side == 0
        grid = prompt.image_grid_thw[0].tolist()
        assert (width, height) == (grid[2] * processor.patch_size, grid[1] * processor.patch_size)


def example_images(example):
    return len(example.images)


def test_the_folder_keeps_it(vl_policy, vl_examples, tmp_path):
    set_resolution(vl_policy, Resolution(min_pixels=32 * 32, max_pixels=64 * 64))
    vl_policy.save(tmp_path / "model")
    again = Policy.load(tmp_path / "model")
    assert again.encode(vl_examples[0]).ids.tolist() == vl_policy.encode(vl_examples[0]).ids.tolist()
    assert again.image_processor.size["longest_edge"] == 64 * 64


def test_faults_are_named(vl_policy, text_policy):
    with pytest.raises(ValueError, match="min_pixels 9 is above max_pixels 4"):
        Resolution(min_pixels=9, max_pixels=4)
    with pytest.raises(ValueError, match="the model reads no images"):
        set_resolution(text_policy, Resolution(min_pixels=1, max_pixels=4096))
    with pytest.raises(ValueError, match=r"an image of this model has at least \d+ pixels, one token"):
        set_resolution(vl_policy, Resolution(min_pixels=1, max_pixels=3))


def test_boxes_follow_the_resolution(vl_policy, vl_examples):
    """Half of the image in rel1000 is half of what the model sees, whatever it sees; the gold answer earns all."""
    image = vl_examples[0].images[:1]
    truth = Boxes(xyxy=np.array([[0.0, 0.0, 500.0, 1000.0]]), space=rel1000)
    example = Example(
        id="a",
        prompt="Where?",
        images=image,
        answer="1 nucleus <box>[[0, 0, 500, 1000]]</box>",
        reference=Reference(boxes=truth),
    )
    for pixels in (32 * 32, 96 * 96):
        set_resolution(vl_policy, Resolution(min_pixels=pixels, max_pixels=pixels))
        width, height = seen_size(vl_policy, image[0].width, image[0].height)
        seen = SeenPixels([example], vl_policy)[0]
        assert seen.answer == f"1 nucleus <box>[[0, 0, {round(width / 2)}, {height}]]</box>"
        assert seen.box_space == pixel(width, height) == seen_space(vl_policy, example)
        gold = Completion(text=seen.answer, box_space=seen.box_space)
        assert SoftF1().score(gold, seen).value == pytest.approx(1.0, abs=0.05)
    text = Example(id="t", prompt="No image", answer="[[1, 2, 3, 4]]")
    assert SeenPixels([text], vl_policy)[0] is text


@pytest.mark.parametrize("name", FORMATS)
def test_gold_answers_follow_the_declared_format(vl_policy, vl_examples, name):
    """Whatever the model writes: the words stay, the rewritten gold answer is read back, and earns all."""
    truth = Boxes(xyxy=np.array([[10.0, 20.0, 300.0, 400.0], [0.0, 0.0, 1000.0, 1000.0]]), space=rel1000)
    example = Example(
        id="a",
        prompt="Where?",
        images=vl_examples[0].images[:1],
        answer="<think>Look.</think>2 nuclei <box>[[10, 20, 300, 400], [0, 0, 1000, 1000]]</box>",
        reference=Reference(boxes=truth, label="2 nuclei"),
    )
    written = as_the_model_writes([example], vl_policy, name)[0]
    gold = Completion(text=written.answer, box_space=written.box_space)
    assert written.box_space.format == name
    assert written.answer.startswith("<think>Look.</think>2 nuclei ")
    assert gold.label == "2 nuclei"
    # qwen25_vl writes whole pixels of a picture that is some 50 wide: half of one at each side of the smaller box
    assert SoftF1().score(gold, written).value == pytest.approx(1.0, abs=0.06)
    assert as_the_model_writes([written], vl_policy, "as_data")[0] is written


def test_gemini_gold_answers_are_y_first(vl_policy, vl_examples):
    truth = Boxes(xyxy=np.array([[10.0, 20.0, 300.0, 400.0]]), space=rel1000, labels=("nucleus",))
    example = Example(
        id="a",
        prompt="",
        images=vl_examples[0].images[:1],
        answer="[[10, 20, 300, 400]]",
        reference=Reference(boxes=truth),
    )
    written = as_the_model_writes([example], vl_policy, "gemini")[0]
    assert written.answer == '[{"box_2d": [20, 10, 400, 300], "label": "nucleus"}]'
    broken = Example(id="b", prompt="", images=example.images, answer="[[1, 2", reference=example.reference)
    with pytest.raises(DataError, match=r"example 'b': the boxes of .* cannot be written as gemini"):
        as_the_model_writes([broken], vl_policy, "gemini")[0]


def test_boxes_that_cannot_be_read_are_named(vl_policy, vl_examples):
    broken = Example(id="b", prompt="", images=vl_examples[0].images[:1], answer="<box>[[1, 2, 3]]</box>")
    with pytest.raises(DataError, match=r"example 'b': the boxes in .* cannot be read"):
        SeenPixels([broken], vl_policy)[0]


def test_every_form_of_boxes_is_rewritten_and_nothing_else():
    half = pixel(500, 2000)
    for before, after in {
        "2 cells <box>[[010, 20, 100, 200], [0, 0, 1000, 1000]]</box>": (
            "2 cells <box>[[5, 40, 50, 400], [0, 0, 500, 2000]]</box>"
        ),
        "<|box_start|>(10,20),(100,200)<|box_end|>": "<|box_start|>(5,40),(50,400)<|box_end|>",
        '[{"bbox_2d": [10, 20, 100, 200], "label": "7 [1, 2] b"}]': (
            '[{"bbox_2d": [5, 40, 50, 400], "label": "7 [1, 2] b"}]'
        ),
        "no boxes, 3 words": "no boxes, 3 words",
        "<box>[]</box>": "<box>[]</box>",
    }.items():
        assert rewritten(before, rel1000, half) == after
