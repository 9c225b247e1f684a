"""What a run leaves on disk: whole files, readable after a kill, enough to score again."""

import io
import json
import os
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from groundrl.rewards import Boxes, Completion, Example, Group, ImageRef, Reference, Score, pixel
from groundrl.rollout.io.records import (
    ExampleStore,
    MetricsFile,
    completion_rows,
    read_lines,
    write_table,
    write_text,
)


class Full(OSError):
    """A full disk."""


class TestAtomicWrites:
    @pytest.mark.parametrize(
        ("write", "fail"),
        [
            (lambda path: write_text("new", path), "pathlib.Path.write_text"),
            (lambda path: write_table([{"a": 1}], path), "pyarrow.parquet.write_table"),
        ],
        ids=["text", "table"],
    )
    def test_a_write_that_fails_leaves_the_old_file(self, tmp_path, monkeypatch, write, fail):
        path = tmp_path / "folder" / "file"
        path.parent.mkdir()
        path.write_bytes(b"old")

        def full(first, second, *args, **kwargs):
            target = second if fail.startswith("pyarrow") else first
            target.write_bytes(b"ha")  # half of it came through
            raise Full

        monkeypatch.setattr(fail, full)
        with pytest.raises(Full):
            write(path)
        assert path.read_bytes() == b"old"

    def test_a_reader_never_sees_a_file_in_the_making(self, tmp_path, monkeypatch):
        """The name appears by a rename and by nothing else."""
        renamed, replace = [], os.replace
        monkeypatch.setattr(
            os, "replace", lambda source, target: (renamed.append(target.exists()), replace(source, target))
        )
        write_table([{"a": 1}, {"a": 2}], tmp_path / "deep" / "table.parquet")
        write_text("hello", tmp_path / "deep" / "text")
        assert renamed == [False, False]
        assert sorted(f.name for f in (tmp_path / "deep").iterdir()) == ["table.parquet", "text"]
        table = pq.read_table(tmp_path / "deep" / "table.parquet")
        assert table.to_pylist() == [{"a": 1}, {"a": 2}]
        assert table.schema.metadata[b"groundrl_schema"] == b"1"


class TestMetrics:
    def test_lines_are_on_disk_at_once_and_what_is_not_finite_is_null(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        metrics = MetricsFile(path, keep_until=0)
        metrics.append({"step": 1, "loss": 0.5, "reward/mean": float("nan")})
        assert list(read_lines(path)) == [{"schema": 1, "step": 1, "loss": 0.5, "reward/mean": None}]
        metrics.close()

    def test_a_torn_last_line_is_left_out(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        whole = '{"step": 1}\n{"step": 2}\n{"step": 3, "loss": 0.25}\n'
        for cut in range(len(whole) + 1):
            path.write_text(whole[:cut])
            steps = [row["step"] for row in read_lines(path)]
            assert steps == [1, 2, 3][: len(steps)]
            assert len(steps) >= whole[:cut].count("\n")

    def test_a_resume_cuts_off_what_lies_past_its_checkpoint(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        path.write_text("".join(json.dumps({"step": step, "run": "old"}) + "\n" for step in range(1, 6)) + '{"step": 6')
        metrics = MetricsFile(path, keep_until=3)
        metrics.append({"step": 4, "run": "new"})
        metrics.close()
        assert [(row["step"], row["run"]) for row in read_lines(path)] == [
            (1, "old"),
            (2, "old"),
            (3, "old"),
            (4, "new"),
        ]

    def test_no_file_has_no_lines(self, tmp_path):
        assert list(read_lines(tmp_path / "metrics.jsonl")) == []


def test_one_row_a_completion_with_everything_about_it(tmp_path):
    """Two groups of two: the rows in order, each with its own advantage and key; parts and faults as columns."""
    completions = tuple(
        Completion(
            text=text,
            token_ids=(5, 1),
            sampled=(True, True),
            logprobs=(-0.5, -0.25),
            finish_reason=end,
            policy_version=3,
        )
        for text, end in [("one", "stop"), ("two", "length")]
    )
    scores = (
        Score(value=0.5, parts={"box": Score(value=0.25, detail={"matched": 1}), "label": Score(value=1.0)}),
        Score(value=None, status="error", parts={"box": Score(value=None, status="error", detail={"reason": "down"})}),
    )
    groups = [
        Group(example=Example(id=name, prompt="x"), completions=completions, scores=scores, seed_key=f"0/rl/{name}")
        for name in ("a", "b")
    ]
    rows = completion_rows(7, groups, [(0.7,), (0.0,), (0.1, 0.2), (-1.0,)], fingerprint="f" * 16)
    write_table(rows, tmp_path / "rollouts.parquet")
    read = pq.read_table(tmp_path / "rollouts.parquet").to_pylist()
    indices = [(row["step"], row["group"], row["example_id"], row["seed_key"], row["advantage"]) for row in read]
    assert indices == [
        (7, 0, "a", "0/rl/a/0", [0.7]),
        (7, 0, "a", "0/rl/a/1", [0.0]),
        (7, 1, "b", "0/rl/b/0", [0.1, 0.2]),
        (7, 1, "b", "0/rl/b/1", [-1.0]),
    ]
    assert {k: v for k, v in read[0].items() if k not in ("step", "group", "example_id", "seed_key", "advantage")} == {
        "text": "one",
        "token_ids": [5, 1],
        "sampled": [True, True],
        "logprobs": [-0.5, -0.25],
        "finish_reason": "stop",
        "policy_version": 3,
        "reward": 0.5,
        "status": "ok",
        "detail": "{}",
        "parts/box": 0.25,
        "parts/box/status": "ok",
        "parts/box/detail": '{"matched": 1}',
        "parts/label": 1.0,
        "parts/label/status": "ok",
        "parts/label/detail": "{}",
        "fingerprint": "f" * 16,
    }
    assert (read[1]["reward"], read[1]["status"], read[1]["parts/box"]) == (None, "error", None)
    assert json.loads(read[1]["parts/box/detail"]) == {"reason": "down"}


def test_steps_in_which_a_part_never_applied_read_as_one_table_with_the_others(tmp_path):
    """A column without any value has no type of its own in parquet; beside one of numbers it cannot be read."""
    for step, value in enumerate([None, 0.5]):
        score = Score(value=1.0, parts={"box": Score(value=value, status="ok" if value is not None else "abstain")})
        completion = Completion(text="", token_ids=(1,), sampled=(True,), logprobs=(0.0,))
        group = Group(example=Example(id="e", prompt="x"), completions=(completion,), scores=(score,))
        write_table(completion_rows(step, [group], [(0.0,)], fingerprint="f"), tmp_path / f"step-{step}.parquet")
    assert pq.read_table(tmp_path)["parts/box"].to_pylist() == [None, 0.5]


class TestExampleStore:
    @pytest.fixture
    def example(self, image):
        boxes = Boxes(xyxy=np.array([[1.0, 2.0, 3.0, 4.0]]), space=pixel(48.0, 32.0), labels=("cell",))
        reference = Reference(label="cancer", boxes=boxes, columns={"age": 61})
        return Example(id="e", prompt="Find.", images=(image(1), image(2)), reference=reference, block="tile-3")

    def read(self, folder):
        return pq.read_table(folder / "examples.parquet").to_pylist()

    def test_each_example_is_stored_once_also_by_the_next_process(self, tmp_path, example):
        other = Example(id="f", messages=({"role": "user", "content": "Yes?"},))
        store = ExampleStore(tmp_path)
        store.add([example, example])
        store.add([example, other])
        ExampleStore(tmp_path).add([other, example])
        assert sorted(row["id"] for row in self.read(tmp_path)) == ["e", "f"]

    def test_two_examples_of_one_id_are_two_also_in_the_next_process(self, tmp_path, example):
        twins = [replace(example, reference=Reference(label="other")), replace(example, prompt="Find it.")]
        assert [own.id for own in ExampleStore(tmp_path).add([example, twins[0], example])] == ["e", "e#2", "e"]
        assert [own.id for own in ExampleStore(tmp_path).add([twins[1], twins[0], example])] == ["e#3", "e#2", "e"]
        rows = {row["id"]: (row["prompt"], row["label"]) for row in self.read(tmp_path)}
        assert rows == {"e": ("Find.", "cancer"), "e#2": ("Find.", "other"), "e#3": ("Find it.", "cancer")}

    def test_a_row_holds_the_reference_and_points_to_its_images(self, tmp_path, example):
        ExampleStore(tmp_path).add([example])
        (row,) = self.read(tmp_path)
        assert (row["prompt"], row["label"], row["block"]) == ("Find.", "cancer", "tile-3")
        assert json.loads(row["columns"]) == {"age": 61}
        assert json.loads(row["boxes"]) == {
            "xyxy": [[1.0, 2.0, 3.0, 4.0]],
            "space": {"kind": "pixel", "width": 48.0, "height": 32.0},
            "labels": ["cell"],
            "scores": None,
            "image": None,
        }
        for stored, image in zip(row["images"], example.images, strict=True):
            assert (stored["width"], stored["height"]) == (48, 32)
            assert (tmp_path / "images" / f"{stored['sha256']}.png").read_bytes() == image.source

    def test_another_format_is_stored_as_the_same_pixels_in_png(self, tmp_path):
        buffer = io.BytesIO()
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(buffer, format="bmp")
        source = tmp_path / "picture.bmp"
        source.write_bytes(buffer.getvalue())
        store = ExampleStore(tmp_path / "run")
        store.add([Example(id="e", prompt="x", images=(ImageRef(source=source, width=4, height=4),))])
        (stored,) = (tmp_path / "run" / "images").iterdir()
        with Image.open(stored) as opened:
            assert opened.format == "PNG"
            assert np.asarray(opened).flatten().tolist() == list(range(48))
