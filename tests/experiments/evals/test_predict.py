"""`groundrl predict`: boxes in pixels of the original, drawn where they are; folders, standard input, an endpoint."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from groundrl.experiments.cli.main import app
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.evals.predict import draw_prediction, images_at, predict, prediction
from groundrl.rewards import Completion, Example, ImageRef, rel1000
from groundrl.rewards.core.function import load_module

web = load_module("judge_server", str(Path(__file__).parents[2] / "judge_server.py"))
QUESTION = "Detect and localize all nuclei in the image."
ORANGE = (255, 122, 26)


@pytest.fixture
def pictures(tmp_path, image):
    """Two images in a folder, of other sizes than a model sees, and a file that is none."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, (width, height) in {"b": (200, 100), "a": (64, 64)}.items():
        Image.open(io.BytesIO(image(1, width, height).source)).save(folder / f"{name}.jpg")
    (folder / "notes.txt").write_text("")
    return folder


def example(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height)).save(buffer, format="png")
    ref = ImageRef(source=buffer.getvalue(), width=width, height=height)
    return Example(id="a", prompt="?", images=(ref,), box_space=rel1000)


def test_boxes_are_in_pixels_of_the_original_and_drawn_there():
    wide = example(2000, 1000)
    text = '[{"bbox_2d": [100, 200, 500, 600], "label": "nucleus"}, {"bbox_2d": [900, 900, 100, 100], "label": "x"}]'
    found = prediction(wide, Completion(text=text))
    assert found["boxes"][0] == {"xyxy": [200.0, 200.0, 1000.0, 600.0], "label": "nucleus", "score": None}
    assert (found["width"], found["height"], found["box_status"]) == (2000, 1000, "ok")
    drawn = np.asarray(draw_prediction(wide, found))
    assert drawn.shape == (1000, 2000, 3)
    rows, columns = (drawn == ORANGE).all(axis=-1).nonzero()
    assert (columns.min(), columns.max(), rows.max()) == (200, 1000, 600)
    assert tuple(drawn[400, 200]) == ORANGE, "the left edge"
    assert tuple(drawn[400, 600]) == (0, 0, 0), "nothing inside"


def test_a_small_image_is_drawn_larger():
    small = example(64, 32)
    drawn = draw_prediction(small, prediction(small, Completion(text="<box>[[0, 0, 500, 1000]]</box>")))
    assert drawn.size == (512, 256)
    assert drawn.getpixel((256, 100)) == ORANGE


def test_what_cannot_be_read_is_no_empty_list():
    found = prediction(example(8, 8), Completion(text="<box>[[1, 2"))
    assert (found["boxes"], found["box_status"]) == (None, "truncated")


def test_a_real_model_answers_a_folder(tiny_vl, pictures, tmp_path):
    found = list(predict(str(tiny_vl), images_at([pictures]), QUESTION, out=tmp_path / "out", max_new_tokens=4))
    assert [each["image"] for each in found] == [str(pictures / "a.jpg"), str(pictures / "b.jpg")]
    assert json.loads((tmp_path / "out" / "b.json").read_text()) == found[1]
    assert (found[1]["width"], found[1]["height"]) == (200, 100)


def test_the_command_reads_standard_input_and_says_what_failed(pictures, tmp_path):
    with web.judge_server() as server:
        server.acts = [web.says("1 nucleus <box>[[0, 0, 500, 500]]</box>"), web.fails(400, "too large")]
        arguments = ["predict", f"m@{server.url}", "-", QUESTION, "--out", str(tmp_path / "out")]
        names = f"{pictures / 'b.jpg'}\n{pictures / 'a.jpg'}\n"
        done = CliRunner().invoke(app, arguments, input=names)
    written = list((tmp_path / "out").glob("*.json"))
    assert len(written) == 1, "the other failed, which is said and is no empty answer"
    content = json.loads(written[0].read_text())
    assert content["boxes"][0]["xyxy"] == [0.0, 0.0, content["width"] / 2, content["height"] / 2]
    assert Path(content["picture"]).read_bytes().startswith(b"\x89PNG")
    assert "1 boxes: " in done.stdout
    assert "HTTP 400: too large" in done.stderr
    assert done.exit_code == 1


def test_an_image_that_cannot_be_read_stops_no_other(tiny_vl, pictures, tmp_path):
    (pictures / "aa.png").write_bytes(b"no picture")
    arguments = [
        "predict",
        str(tiny_vl),
        str(pictures),
        QUESTION,
        "--out",
        str(tmp_path / "out"),
        "--max-new-tokens",
        "4",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1
    assert f"the image {pictures / 'aa.png'} cannot be read" in done.stderr
    for name in ("a", "b"):
        assert json.loads((tmp_path / "out" / f"{name}.json").read_text())["image"] == str(pictures / f"{name}.jpg")


def test_a_batch_of_broken_images_says_nothing_of_the_one_before(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr("groundrl.experiments.evals.predict.BATCH", 2)
    for name in ("c.png", "d.png"):
        (pictures / name).write_bytes(b"no picture")
    with web.judge_server() as server:
        server.act = web.fails(400, "too large")
        found = list(predict(f"m@{server.url}", images_at([pictures]), QUESTION, out=tmp_path / "out"))
    assert [Path(each["image"]).name for each in found] == ["a.jpg", "b.jpg", "c.png", "d.png"]
    assert ["too large" in each["error"] for each in found] == [True, True, False, False]


def test_images_of_one_name_do_not_overwrite_each_other(pictures, tmp_path):
    (tmp_path / "other").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "other" / "a.png")
    with web.judge_server() as server:
        server.act = web.says("nothing")
        paths = [pictures / "a.jpg", tmp_path / "other" / "a.png"]
        list(predict(f"m@{server.url}", paths, "?", out=tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a-2.json", "a.json"]


@pytest.mark.parametrize(
    ("paths", "message"),
    [(["none.png"], "there is no image none.png"), (["."], "has no images"), ([], "name an image")],
)
def test_a_wrong_path_is_one_sentence(paths, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        images_at([Path(path) for path in paths])


def test_a_wrong_box_space_is_one_sentence(pictures, tmp_path):
    with pytest.raises(ConfigError, match="there is no box space 'rel100'"):
        list(predict("base", images_at([pictures]), "?", out=tmp_path, box_space="rel100"))
