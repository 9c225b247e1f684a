"""The table of forms: what is read, and under which status everything else is refused."""

import time

import pytest

from groundrl.rewards import parse_answer, parse_boxes, parse_label

ONE, TWO = (10.0, 20.0, 30.0, 40.0), (50.0, 60.0, 70.0, 80.0)

READ = {
    "tagged list": ("2 cells <box>[[10, 20, 30, 40], [50, 60, 70, 80]]</box>", (ONE, TWO)),
    "tagged, zero-padded": ("2 cells <box>[[010, 020, 030, 040], [050, 060, 070, 080]]</box>", (ONE, TWO)),
    "tagged single": ("cell <box>[10,20,30,40]</box>", (ONE,)),
    "tagged, none": ("0 nuclei <box>[]</box>", ()),
    "tagged, several lines": ("cell <box>[\n  [10, 20,\n 30, 40]\n]</box>", (ONE,)),
    "two tagged stretches": ("a <box>[[10,20,30,40]]</box> b <box>[[50,60,70,80]]</box>", (ONE, TWO)),
    "bare list": ("[[10, 20, 30, 40], [50, 60, 70, 80]]", (ONE, TWO)),
    "bare single": ("a cell at [10, 20, 30, 40].", (ONE,)),
    "bare, none": ("0 nuclei []", ()),
    "words in brackets before": ("[left] lung [10, 20, 30, 40]", (ONE,)),
    "floats": ("<box>[[10.0, 2e1, 30.00, 4.0E+1]]</box>", (ONE,)),
    "negative": ("<box>[[-10, 20, 30, 40]]</box>", ((-10.0, 20.0, 30.0, 40.0),)),
    "spaces": ("<box>  [ [ 10 , 20 , 30 , 40 ] ]  </box>", (ONE,)),
    "qwen": ("<|box_start|>(10,20),(30,40)<|box_end|><|box_start|>(50, 60), (70, 80)<|box_end|>", (ONE, TWO)),
    "json list": ('[{"bbox_2d": [10, 20, 30, 40], "label": "cell"}]', (ONE,)),
    "json object": ('{"bbox_2d": [10, 20, 30, 40]}', (ONE,)),
    "json, fenced": (
        'Here:\n```json\n[{"bbox_2d": [10, 20, 30, 40]},\n {"bbox_2d": [50, 60, 70, 80]}]\n```',
        (ONE, TWO),
    ),
}

REFUSED = {
    "nothing": ("3 nuclei", "no_boxes"),
    "only words in brackets": ("[left] lung", "no_boxes"),
    "tag unclosed": ("<box>[[10, 20, 30, 40]]", "truncated"),
    "list unclosed in tag": ("<box>[[10, 20, 30, 40</box>", "truncated"),
    "bare unclosed": ("[[10, 20, 30, 40], [50, 6", "truncated"),
    "bare, cut at the bracket": ("3 nuclei [", "truncated"),
    "json unclosed": ('[{"bbox_2d": [10, 20, 30', "truncated"),
    "json, cut in a string": ('[{"bbox_2d": [10, 20, 30, 40], "label": "ce', "truncated"),
    "closing tag alone": ("[[10, 20, 30, 40]]</box>", "bad_form"),
    "three numbers": ("<box>[[10, 20, 30]]</box>", "bad_form"),
    "five numbers": ("<box>[[10, 20, 30, 40, 50]]</box>", "bad_form"),
    "no comma between": ("<box>[[10,20,30,40][50,60,70,80]]</box>", "bad_form"),
    "text beside the list": ("<box>[[10,20,30,40]] and</box>", "bad_number"),
    "a word": ("<box>[[10, 20, x, 40]]</box>", "bad_number"),
    "NaN": ("<box>[[nan, 20, 30, 40]]</box>", "bad_number"),
    "bare NaN": ("[NaN, 20, 30, 40]", "bad_number"),
    "two points": ("<box>[[1.2.3, 20, 30, 40]]</box>", "bad_number"),
    "hexadecimal": ("<box>[[0x10, 20, 30, 40]]</box>", "bad_number"),
    "other digits": ("<box>[[\u0661\u0660, 20, 30, 40]]</box>", "bad_number"),
    "forty digits": (f"<box>[[{'1' * 40}, 20, 30, 40]]</box>", "bad_number"),
    "json NaN": ('{"bbox_2d": [NaN, 20, 30, 40]}', "bad_number"),
    "json text": ('{"bbox_2d": ["10", 20, 30, 40]}', "bad_number"),
    "json boolean": ('{"bbox_2d": [true, 20, 30, 40]}', "bad_number"),
    "json, xywh key": ('[{"bbox_2d": [1, 2, 3, 4]}, {"bbox": [1, 2, 3, 4]}]', "bad_form"),
    "json, leading zero": ('{"bbox_2d": [010, 20, 30, 40]}', "bad_form"),
    "1e309": ("<box>[[1e309, 20, 30, 40]]</box>", "out_of_range"),
    "json 1e309": ('{"bbox_2d": [1e309, 20, 30, 40]}', "out_of_range"),
    "two forms": ("<box>[[10,20,30,40]]</box> <|box_start|>(1,2),(3,4)<|box_end|>", "ambiguous"),
    "two bare lists": ("[10, 20, 30, 40] or [50, 60, 70, 80]", "ambiguous"),
    "two json lists": ('[{"bbox_2d": [1,2,3,4]}] [{"bbox_2d": [1,2,3,4]}]', "ambiguous"),
}


@pytest.mark.parametrize(("text", "boxes"), READ.values(), ids=READ.keys())
def test_form_is_read(text, boxes):
    parsed = parse_boxes(text)
    assert (parsed.status, parsed.xyxy) == ("ok", boxes)


@pytest.mark.parametrize(("text", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_form_is_refused(text, status):
    parsed = parse_boxes(text)
    assert (parsed.status, parsed.xyxy) == (status, ())


def test_labels_and_images_come_with_the_forms_that_state_them():
    text = (
        '[{"bbox_2d": [10,20,30,40], "label": "a", "image": 1}, {"bbox_2d": [50,60,70,80], "label": "b", "image": 0}]'
    )
    parsed = parse_boxes(text)
    assert (parsed.labels, parsed.image) == (("a", "b"), (1, 0))
    named = "<|object_ref_start|>mitosis<|object_ref_end|><|box_start|>(10,20),(30,40)<|box_end|>"
    assert parse_boxes(named).labels == ("mitosis",)
    assert parse_boxes('[{"bbox_2d": [1,2,3,4], "label": "a"}, {"bbox_2d": [1,2,3,4]}]').labels is None


def test_spans_point_at_the_boxes():
    text = "one <box>[[1,2,3,4]]</box> two <box>[[5,6,7,8]]</box>."
    assert [text[a:b] for a, b in parse_boxes(text).spans] == ["<box>[[1,2,3,4]]</box>", "<box>[[5,6,7,8]]</box>"]
    text = "so [[1,2,3,4]]."
    assert [text[a:b] for a, b in parse_boxes(text).spans] == ["[[1,2,3,4]]"]


ANSWERS = {
    "plain": ("3 nuclei", "ok", "3 nuclei"),
    "after thinking": ("<think>5?</think>3 nuclei", "ok", "3 nuclei"),
    "last thinking counts": ("<think>a</think>b</think>c", "ok", "c"),
    "only pair": ("so <answer>yes</answer> done", "ok", "yes"),
    "a pair inside the thoughts does not count": (
        "<think><answer>no</answer></think><answer>yes</answer>",
        "ok",
        "yes",
    ),
    "thinking unclosed": ("<think>3 nuclei", "truncated", None),
    "answer unclosed": ("<answer>3 nuclei", "truncated", None),
    "several pairs": ("<answer>a</answer><answer>b</answer>", "ambiguous", None),
    "second pair unclosed": ("<answer>a</answer><answer>b", "ambiguous", None),
    "nested": ("<answer><answer>a</answer></answer>", "ambiguous", None),
    "closing before opening": ("</answer>a<answer>", "ambiguous", None),
    "closing alone": ("a</answer>", "ambiguous", None),
    "empty": ("", "no_answer", None),
    "white space": (" \n", "no_answer", None),
    "empty pair": ("<answer> </answer>", "no_answer", None),
    "only thoughts": ("<think>3</think>", "no_answer", None),
}


@pytest.mark.parametrize(("text", "status", "answer"), ANSWERS.values(), ids=ANSWERS.keys())
def test_answer(text, status, answer):
    parsed = parse_answer(text)
    assert (parsed.status, parsed.text) == (status, answer)
    if answer is not None:
        assert text[slice(*parsed.span)] == answer


LABELS = {
    "before the boxes": ("3 nuclei <box>[[1,2,3,4]]</box>", "3 nuclei"),
    "around the boxes": ("3 <box>[[1,2,3,4]]</box> nuclei", "3 nuclei"),
    "none": ("0 nuclei <box>[]</box>", "0 nuclei"),
    "no boxes at all": (" pneumonia ", "pneumonia"),
    "only boxes": ("<box>[[1,2,3,4]]</box>", ""),
    "bare": ("3 nuclei [[1,2,3,4]]", "3 nuclei"),
    "brackets with words stay": ("[left] lung", "[left] lung"),
    "json": ('1 cell ```json\n[{"bbox_2d": [1,2,3,4], "label": "cell"}]\n```', "1 cell"),
    "qwen": ("<|object_ref_start|>cell<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>", "cell"),
}


@pytest.mark.parametrize(("text", "label"), LABELS.values(), ids=LABELS.keys())
def test_label(text, label):
    assert parse_label(text) == label


HOSTILE = ["[", "[[", "[ ", "[1,", "[1,2,3,4],", "<box>", "<box>[", "</box>", '{"bbox_2d":', '"bbox_2d"', "<answer>",
           "1",
           "<|object_ref_end|><|box_start|>(1,2),(3,4)<|box_end|>", "-", "[1 ", "[ a", "1e", " ",
           "(", "(1,2),", "(1,2),(3,4)", "<loc0001>", "<ref>", "<|det|>[[1,2,3,4]]", '"box_2d"',
           "<|begin_of_box|> "]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_cost_is_linear_in_the_text(piece):
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            for parse in (parse_answer, parse_boxes, parse_label):
                parse(text)
            for format in ("gemini", "paligemma", "deepseek_vl2"):
                parse_boxes(text, format=format)
            best = min(best, time.process_time() - start)
        return best

    # 16 times the text: 16 times the time if linear, 256 times if quadratic.
    assert seconds(800_000) < 64 * max(seconds(50_000), 2e-4)
