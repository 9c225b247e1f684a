"""A run with `model: {boxes: gemini}`: what it asks for, learns from, reads and shows is y first, to the last command.

Two steps teach a tiny model nothing, so where answers are read it is told what to say.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from groundrl.experiments import Run, train
from groundrl.experiments.analysis import open_log
from groundrl.experiments.analysis.page.content import page_content
from groundrl.experiments.cli.main import app
from groundrl.experiments.evals import evaluation, predict
from groundrl.experiments.evals.models import open_engine
from groundrl.experiments.recording.rollouts import read_examples
from groundrl.rewards import FORMATS, rel1000

ASKED = "Detect and localize all nuclei in this image. Write boxes as "
# x first in thousandths, one for each image; wide and far right, so that the two orders have nothing in common
TRUTH = [(600, 100, 900, 200), (500, 50, 950, 250), (700, 20, 980, 120)]
GOLD = [f'1 nucleus [{{"box_2d": [{y1}, {x1}, {y2}, {x2}], "label": "nucleus"}}]' for x1, y1, x2, y2 in TRUTH]
X_FIRST = [f'1 nucleus [{{"bbox_2d": {list(box)}, "label": "nucleus"}}]' for box in TRUTH]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, image):
    """Three images of 64 x 48 with data that say nothing of gemini."""
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for index, box in enumerate(TRUTH):
        (folder / f"{index}.png").write_bytes(image(index, 64, 48).source)
        boxes = {"xyxy": [box], "space": "rel1000", "labels": ["nucleus"]}
        lines.append(
            {
                "id": str(index),
                "images": [f"{index}.png"],
                "prompt": ASKED + FORMATS["medmo"].asked + ".",
                "answer": f"1 nucleus <box>[{list(box)}]</box>",
                "reference": {"label": "1 nucleus", "boxes": boxes},
            }
        )
    (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def run(folder, small, tmp_path_factory) -> Run:
    """The one run of this module. In its first RL step the first group says what is true, and the same x first."""
    data = str(folder / "data.jsonl")
    keys = {**small, "model.boxes": "gemini", "audit": "off", "data.train": data, "data.test": data}
    keys |= {"stages.sft.data.train": data, "stages.rl.group_size": 2}
    run = train("quickstart", overrides=keys, runs=tmp_path_factory.mktemp("runs"), progress=False)
    file = run.folder / "rollouts" / "step-000003.parquet"
    table = pq.ParquetFile(file).read()
    index = int(table["example_id"][0].as_py().rsplit("/")[-1])
    texts = [GOLD[index], X_FIRST[index], *table["text"].to_pylist()[2:]]
    pq.write_table(table.set_column(table.column_names.index("text"), "text", pa.array(texts)), file)
    return run


def test_prompts_ask_for_it_and_gold_answers_are_y_first(run):
    examples = read_examples(run.folder)
    assert sorted(examples) == ["0", "1", "2"]
    for id, example in examples.items():
        assert example.prompt == ASKED + '[{"box_2d": [y1, x1, y2, x2], "label": "label"}], from 0 to 1000.'
        assert example.answer == GOLD[int(id)]
        assert example.box_space == replace(rel1000, format="gemini")
        assert example.reference.boxes.xyxy.tolist() == [list(map(float, TRUTH[int(id)]))]


def test_rescore_reads_it_y_first(run):
    found = run.rescore("SoftF1()")
    assert [row["new"] for row in found.rows[:2]] == [1.0, 0.0]
    done = CliRunner().invoke(app, ["rescore", str(run.folder), "--reward", "SoftF1()"])
    assert done.exit_code == 0, done.output
    assert pq.read_table(run.folder / "rescored" / "rescored.parquet")["new"].to_pylist()[:2] == [1.0, 0.0]


def test_view_draws_it_where_it_is(run):
    content = page_content(open_log(run.folder))
    group = content["groups"][0]
    x1, y1, x2, y2 = (value / 1000 for value in TRUTH[int(group["example"])])
    assert group["rows"][0]["boxes"] == [[x1, y1, x2, y2, 0]]
    assert group["rows"][1]["boxes"] is None, "x first cannot be read"
    assert content["examples"][group["example"]]["boxes"] == [[x1, y1, x2, y2, 0]]
    assert CliRunner().invoke(app, ["view", str(run.folder)]).exit_code == 0


class Told:
    """An engine that says these texts, in the order of the examples, instead of what its model samples."""

    def __init__(self, engine, texts: Sequence[str]) -> None:
        self.engine, self.texts = engine, texts

    @property
    def policy(self):
        return self.engine.policy

    @property
    def failures(self):
        return self.engine.failures

    def sync(self, weights, version):
        self.engine.sync(weights, version)

    def generate(self, examples, **settings):
        for group in self.engine.generate(examples, **settings):
            told = tuple(replace(each, text=self.texts[group.index]) for each in group.completions)
            yield replace(group, completions=told)


@pytest.mark.parametrize(("texts", "iou"), [(GOLD, 1.0), (X_FIRST, 0.0)], ids=["y first", "x first"])
def test_eval_of_the_run_reads_it_y_first(run, tmp_path, monkeypatch, texts, iou):
    monkeypatch.setattr(evaluation, "open_engine", lambda *given, **keys: Told(open_engine(*given, **keys), texts))
    done = CliRunner().invoke(app, ["eval", str(run.folder), str(run.folder), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out" / "evaluation.json").read_text())["datasets"]["test"]["metrics"]
    assert found["iou_of_true_boxes"]["value"] == iou


def test_predict_with_the_run_is_in_pixels_x_first(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "open_engine", lambda *given, **keys: Told(open_engine(*given, **keys), GOLD))
    done = CliRunner().invoke(app, ["predict", str(run.folder), str(folder), "Where?", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    for index, (x1, y1, x2, y2) in enumerate(TRUTH):
        boxes = json.loads((tmp_path / f"{index}.json").read_text())["boxes"]
        expected = [x1 * 0.064, y1 * 0.048, x2 * 0.064, y2 * 0.048]
        assert (boxes[0]["xyxy"], boxes[0]["label"]) == (pytest.approx(expected, abs=0.01), "nucleus")
