"""One's own column maps: every kind of column, and every fault with its place."""

import json

import pytest

from groundrl.experiments.data import load_source
from groundrl.experiments.data.columns.column_map import load_map
from groundrl.experiments.data.columns.mapped import place_images
from groundrl.rewards import DataError, ImageRef, pixel


@pytest.fixture
def mapped(tmp_path):
    """`mapped({map}, row, ..., **data)`: the source of a file with these rows."""

    def open_rows(columns, *rows, **data):
        (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        spec = {"read": {"dataset": "own", **columns}, "path": "d.jsonl", **data}
        return load_source(spec, seed=0, base=tmp_path)

    return open_rows


CHOICE = {"tasks": ["multiple_choice"], "question": "q", "choices": "o", "answer": {"letter": "a"}}


def test_boxes_in_a_declared_space(mapped, picture):
    picture("x.png", 100, 50)
    columns = {
        "tasks": ["grounding"],
        "images": ["file"],
        "boxes": {"column": "boxes", "form": "xywh", "space": "pixel", "labels": "names"},
        "target": "lesions",
        "block": "patient",
    }
    row = {"file": "x.png", "boxes": [[10, 5, 20, 10], [0, 0, 5, 5]], "names": ["Mass", "Cyst"], "patient": 7}
    source = mapped(columns, row, row | {"boxes": [], "names": []}, row | {"boxes": [1, 2, 3, 4], "names": "Mass"})
    assert source[0].answer == "Mass <box>[[100, 100, 300, 300]]</box>, Cyst <box>[[000, 000, 050, 100]]</box>"
    assert source[0].reference.boxes.space == pixel(100.0, 50.0)
    assert (source[0].block, source[0].reference["patient"]) == ("7", 7)
    assert (source[1].answer, source[1].prompt) == (
        "No lesions <box>[]</box>",
        "Detect and localize all lesions in this image.",
    )
    assert source[2].reference.boxes.xyxy.tolist() == [[1, 2, 4, 6]]
    faulty = mapped(columns, row | {"boxes": [[90, 5, 20, 10]], "names": ["Mass"]}, row | {"boxes": ["1"]})
    with pytest.raises(DataError, match=r"d.jsonl:1: example 'own/0': box 0 .* lies outside the image"):
        faulty[0]
    with pytest.raises(DataError, match=r"d.jsonl:2: .*`boxes` is four numbers|a box in `boxes`"):
        faulty[1]


def test_labels_in_a_list_or_one_text(mapped, picture):
    picture("x.png")
    columns = {"tasks": ["classification"], "images": ["file"], "labels": "labels", "modality": "chest X-ray"}
    rows = [{"file": "x.png", "labels": labels} for labels in ("Edema|Mass", ["Edema"], [])]
    assert [each.answer for each in mapped(columns, *rows)] == ["Edema, Mass", "Edema", "none"]


def test_several_right_answers_and_pairs(mapped, picture):
    picture("x.png")
    source = mapped(
        {"tasks": ["text_qa"], "question": "q", "answer": {"text": "a"}}, {"q": "Why?", "a": ["so", "thus"]}
    )
    assert (source[0].answer, source[0].reference["references"]) == ("so", ("so", "thus"))
    columns = {"tasks": ["image_text_retrieval"], "images": ["f"], "report": "t", "pair": "p"}
    assert mapped(columns, {"f": "x.png", "t": "A cyst.", "p": 3})[0].reference["pair"] == "3"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"q": "Q", "o": {"A": "x", "B": "y"}, "a": "C"}, "`a` is 'C', which is none of the letters A to B"),
        ({"q": "Q", "o": {"A": "x", "B": "y"}, "a": 1}, "`a` is 1, which is none of the letters A to B"),
        ({"q": "Q", "o": {"A": "x", "C": "y"}, "a": "A"}, "letters ['A', 'C'], which are not A, B, ... in a row"),
        ({"q": "Q", "o": ["x", None, "y"], "a": "A"}, "the choice B in `o` is empty"),
        ({"q": "Q", "o": ["x", {"y": 1}], "a": "A"}, "`o` holds {'y': 1}, which is no text"),
        ({"q": "Q", "o": 3, "a": "A"}, "`o` holds 3, which is no list of choices"),
        ({"q": "Q", "o": ["x", "y"]}, "the right choice is not stated: a is empty"),
        ({"q": " ", "o": ["x"], "a": "A"}, "it is no multiple_choice: it has no question"),
        ({"q": True, "o": ["x"], "a": "A"}, "`q` holds True, which is no text"),
        ({"q": "Q", "a": "A"}, "it is no multiple_choice: it has no choices"),
    ],
)
def test_a_faulty_row_is_named_with_its_line(mapped, row, message):
    sound = {"q": "Q", "o": ["x", "y"], "a": " (b). "}
    source = mapped(CHOICE, sound, row)
    assert source[0].answer == "B"
    with pytest.raises(DataError) as error:
        source[1]
    assert "d.jsonl:2: example 'own/1': " in str(error.value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("value", "place"),
    [(2, "C"), ("2", "C"), (2.0, "C"), ("2.0", "C"), (3, None), (0.5, None), (True, None), ("x", None)],
)
def test_places_are_numbers_however_written(mapped, value, place):
    columns = {**CHOICE, "answer": {"index": "a"}}
    source = mapped(columns, {"q": "Q", "o": ["x", "y", "z"], "a": value})
    if place is not None:
        assert source[0].answer == place
    else:
        with pytest.raises(DataError, match=r"`a` is .*, but the choices are 0 to 2"):
            source[0]


def test_a_text_that_is_two_of_the_choices_is_not_guessed(mapped):
    source = mapped({**CHOICE, "answer": {"text": "a"}}, {"q": "Q", "o": ["Yes", "yes."], "a": "yes"})
    with pytest.raises(DataError, match="`a` is 'yes', which is 2 of the choices"):
        source[0]


def test_rows_are_taken_by_value_and_a_broken_one_is_still_named(mapped, tmp_path):
    rows = [{"q": "Q", "o": ["x", "y"], "a": "A", "lang": lang, "n": n} for n, lang in enumerate(["en", "zh", "en "])]
    assert [each.reference["n"] for each in mapped(CHOICE, *rows, where={"lang": "en"})] == [0, 2]
    assert [each.reference["n"] for each in mapped(CHOICE, *rows, where={"n": [1, 2]})] == [1, 2]
    with (tmp_path / "d.jsonl").open("a") as file:
        file.write("broken\n")
    source = load_source(
        {"read": {"dataset": "own", **CHOICE}, "path": "d.jsonl", "where": {"lang": "zh"}}, seed=0, base=tmp_path
    )
    assert len(source) == 2
    with pytest.raises(DataError, match=r"d.jsonl:4: example 'own/3': the line is not JSON"):
        source[1]
    with pytest.raises(ValueError, match="unknown column in `where`: 'lnag'; did you mean 'lang'"):
        mapped(CHOICE, *rows, where={"lnag": "en"})


def test_a_template_by_name_or_in_words(mapped):
    row = {"q": "Q", "o": ["x", "y"], "a": "A"}
    assert mapped(CHOICE, row, template="{question} {options}")[0].prompt == "Q A. x\nB. y"
    assert "<answer>" in mapped(CHOICE, row, template="think")[0].prompt
    with pytest.raises(ValueError, match="the task multiple_choice has no template 'thikn'; did you mean 'think'"):
        mapped(CHOICE, row, template="thikn")
    two = {"tasks": ["closed_vqa", "open_vqa"], "question": "q", "answer": {"text": "a"}}
    prompts = [each.prompt for each in mapped(two, row, {"q": "Q", "a": "no"}, template="concise")]
    assert prompts == ["Q\nAnswer concisely.", "Q\nAnswer with yes or no."], "a task without it keeps its own"


def test_a_mapping_is_checked(tmp_path):
    for content, message in {
        "{dataset: d, tasks: [multiple_chioce]}": "there is no task 'multiple_chioce'; did you mean 'multiple_choice'",
        "{dataset: d, tasks: [text_qa], qestion: q}": "qestion: .*; did you mean 'question'",
        "{tasks: [text_qa]}": "dataset: Field required",
        "[1]": "is not a column map: Input should be",
        "{a: [": "own.yaml is not YAML",
    }.items():
        (tmp_path / "own.yaml").write_text(content)
        with pytest.raises(ValueError, match=message):
            load_map("own.yaml", tmp_path)
    with pytest.raises(ValueError, match="there is no reader 'medqua'; did you mean 'medqa'"):
        load_map("medqua", tmp_path)
    with pytest.raises(ValueError, match=r"there is no column map .*other.yaml"):
        load_map("other.yaml", tmp_path)


def test_images_stand_where_the_text_names_them():
    one, two = (ImageRef(source=name.encode(), width=1, height=1) for name in ("1", "2"))
    assert place_images("a", ("b",), [(one,), (two,)]) == ("a", ("b",), (one, two))
    marked = place_images("<image 2>", ("<image 1> <image 2>",), [(one,), (two,)])
    assert marked == ("<image>", ("<image> <image>",), (two, one, two))


def test_an_empty_file_has_no_examples_and_no_fault(mapped):
    assert len(mapped(CHOICE)) == 0


def test_a_wrong_file_says_what_it_has_and_what_is_expected(mapped):
    wanted = r"d.jsonl is not what the map own reads: it has no o, a; expected: q, o, a; found: q, options"
    with pytest.raises(ValueError, match=wanted):
        mapped(CHOICE, {"q": "Q", "options": []})
