"""Counts, faults with their lines, and leaks: the same picture in another file, a patient, a block, a question."""

import io
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from groundrl.experiments.cli.data_check import config_data, splits_of
from groundrl.experiments.cli.main import app
from groundrl.experiments.config.run import RunConfig
from groundrl.experiments.data import JsonlSource, NucleiCrops
from groundrl.experiments.data.check.faults import Split, check_data, spaced
from groundrl.experiments.data.check.files import write_check
from groundrl.rewards import Example, ImageRef
from groundrl.rollout.io.pictures import stored_image


def encoded(array, form, **more):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format=form, **more)
    return ImageRef(source=buffer.getvalue(), width=array.shape[1], height=array.shape[0])


def pixels(seed=0, shape=(8, 12)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def split(name, *examples, **more):
    return Split(name=name, source=list(examples), held_out=name == "test", **more)


def ask(id, image=None, **more):
    return Example(id=id, prompt=more.pop("prompt", f"what is {id}?"), images=(image,) if image else (), **more)


def kinds(report):
    return [(leak.kind, leak.splits, leak.examples, leak.shared) for leak in report.leaks]


def test_the_same_pixels_leak_however_they_are_encoded():
    grey = pixels()
    colour = np.stack([grey] * 3, axis=-1)
    train = split("rl", ask("a", encoded(pixels(1), "png")), ask("b", encoded(grey, "png")))
    for form, array in (("bmp", grey), ("png", colour), ("tiff", grey)):
        found = kinds(check_data([train, split("test", ask("t", encoded(array, form)))]))
        assert found == [("image", ("rl", "test"), ("b", "t"), 1)], form
    other = grey.copy()
    other[0, 0] ^= 1
    for array in (other, grey.reshape(12, 8)):
        assert check_data([train, split("test", ask("t", encoded(array, "png")))]).sound


def test_sixteen_bits_are_not_made_eight():
    """Both become white in 8 bits."""
    bright, brighter = (encoded(np.full((4, 4), value, dtype=np.uint16), "png") for value in (40_000, 50_000))
    assert check_data([split("rl", ask("a", bright)), split("test", ask("t", brighter))]).sound
    assert not check_data([split("rl", ask("a", bright)), split("test", ask("t", bright))]).sound
    assert stored_image(bright, "a").getpixel((0, 0)) == 40_000


def test_a_patient_a_block_and_a_question_leak(tmp_path):
    rows = [
        {"id": "a", "prompt": "One?", "block": "b1", "reference": {"patient_id": 7}},
        {"id": "b", "prompt": "Two?", "block": "b2", "reference": {"patient_id": 8}},
        {"id": "c", "prompt": "Three?", "block": "b2", "reference": {"patient_id": 9}},
    ]
    test = [
        {"id": "t", "prompt": "Two?", "block": "b2", "reference": {"patient_id": "9"}},
        {"id": "u", "prompt": "Four?", "block": "b1"},
    ]
    for name, content in (("train", rows), ("test", test)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in content))
    splits = [
        Split(name="rl", source=JsonlSource(tmp_path / "train.jsonl")),
        Split(name="test", source=JsonlSource(tmp_path / "test.jsonl"), held_out=True),
    ]
    found = kinds(check_data(splits))
    assert sorted(found) == [
        ("block", ("rl", "test"), ("a", "u"), 2),
        ("patient", ("rl", "test"), ("c", "t"), 1),
        ("question", ("rl", "test"), ("b", "t"), 1),
    ]


def test_files_of_one_name_are_two_images(tmp_path):
    made = {}
    for name, seed in {"train/1.png": 0, "test/1.png": 1}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(encoded(pixels(seed), "png").source)
        made[name] = ImageRef(source=tmp_path / name, width=12, height=8)
    for block in ("1.png", "1"):
        train = split("rl", ask("a", made["train/1.png"], block=block))
        assert check_data([train, split("test", ask("t", made["test/1.png"], block=block))]).sound
        assert not check_data([train, split("test", ask("t", made["train/1.png"], block=block))]).sound


def test_two_stages_may_share_but_nothing_held_out():
    same = ask("a", block="b")
    assert check_data([split("sft", same), split("rl", same)]).sound
    held = check_data([split("sft", same), split("rl", same), split("test", same)])
    assert {leak.splits for leak in held.leaks} == {("sft", "test"), ("rl", "test")}


def test_every_fault_is_found_with_its_line(tmp_path):
    lines = ['{"prompt": "a"}', "broken", '{"prompt": "b", "images": ["none.png"]}', "", '{"promt": "c"}']
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    (tmp_path / "bad.png").write_bytes(encoded(pixels(), "png").source[:60])
    with (tmp_path / "d.jsonl").open("a") as file:
        file.write('\n{"prompt": "d", "images": [{"path": "bad.png", "width": 12, "height": 8}]}\n')
    report = check_data([Split(name="d", source=JsonlSource(tmp_path / "d.jsonl"))])
    (facts,) = report.splits
    assert (facts.examples, facts.checked, report.sound) == (5, 5, False)
    indices = [fault.partition(": ")[0].rpartition("/")[2] for fault in facts.faults[:3]]
    assert indices == ["d.jsonl:2", "d.jsonl:3", "d.jsonl:5"]
    assert facts.faults[3].startswith("example 'd.jsonl:6': the image ")


def test_an_id_given_twice_is_a_fault_with_both_lines(tmp_path):
    (tmp_path / "d.jsonl").write_text(
        '{"id": "a", "prompt": "x"}\n\n{"id": "b", "prompt": "y"}\n{"id": "a", "prompt": "z"}\n'
    )
    (facts,) = check_data([Split(name="d", source=JsonlSource(tmp_path / "d.jsonl"))]).splits
    (fault,) = facts.faults
    assert fault.endswith(f"d.jsonl:4: example 'a': {tmp_path}/d.jsonl:1 has this id too; give each example its own")


@pytest.mark.parametrize(
    ("answer", "sound"),
    [
        ("<box>[[78, 156, 234, 312]]</box>", True),
        ("<box>[[100, 200, 300, 400]]</box>", False),
        ("<box>[[78, 156, 234, 312], [0, 0, 500, 500], [1, 1, 600, 600]]</box>", True),
        ("<box>[[78, 156, 234, 312], [0, 0, 5, 5], [1, 1, 6, 6], [1, 1, 6, 6]]</box>", False),
        ("a nucleus", True),
    ],
)
def test_an_answer_with_other_boxes_than_the_reference_is_a_fault(answer, sound, tmp_path):
    boxes = {"xyxy": [[0.078, 0.156, 0.234, 0.312]], "space": "rel1"}
    record = {"id": "a", "prompt": "?", "answer": answer, "reference": {"boxes": boxes}}
    (tmp_path / "d.jsonl").write_text(json.dumps(record))
    (facts,) = check_data([Split(name="d", source=JsonlSource(tmp_path / "d.jsonl"))]).splits
    assert len(facts.faults) == (not sound)
    for fault in facts.faults:
        assert fault.startswith(
            f"{tmp_path}/d.jsonl:1: example 'a': the boxes of its answer and of its reference agree by"
        )


@pytest.mark.parametrize(("label", "sound"), [("B", True), ("No.", True), ("(b) no", True), ("C", False), ("x", False)])
def test_a_label_that_is_none_of_the_choices_is_a_fault(label, sound, tmp_path):
    row = {"id": "a", "prompt": "?", "reference": {"label": label, "choices": ["yes", "no"]}}
    (tmp_path / "d.jsonl").write_text(json.dumps(row) + "\n")
    (facts,) = check_data([Split(name="d", source=JsonlSource(tmp_path / "d.jsonl"))]).splits
    said = f"example 'a': its label {label!r} is none of its choices ('yes', 'no'), by letter or by text"
    assert [fault.partition(": ")[2] for fault in facts.faults] == ([] if sound else [said])


def test_of_an_example_at_fault_leaks_are_found_too():
    train = split("rl", ask("a", encoded(pixels(1), "png")), ask("a", encoded(pixels(2), "png"), prompt="another"))
    report = check_data([train, split("test", ask("t", encoded(pixels(2), "png")))])
    assert kinds(report) == [("image", ("rl", "test"), ("a", "t"), 1)]
    assert report.splits[0].faults == ["place 1: example 'a': place 0 has this id too; give each example its own"]


def test_tiny_boxes_which_rounding_moves_are_no_fault(tmp_path):
    boxes = {"xyxy": [[0.1, 0.1, 0.9, 0.9], [0.5, 0.5, 0.503, 0.503]], "space": "rel1"}
    record = {"prompt": "?", "answer": "<box>[[501, 501, 503, 503]]</box>", "reference": {"boxes": boxes}}
    (tmp_path / "d.jsonl").write_text(json.dumps(record))
    assert check_data([Split(name="d", source=JsonlSource(tmp_path / "d.jsonl"))]).sound


def test_one_faulty_split_makes_all_unsound(tmp_path):
    (tmp_path / "bad.jsonl").write_text("broken")
    bad = Split(name="bad", source=JsonlSource(tmp_path / "bad.jsonl"))
    assert not check_data([split("good", ask("a")), bad]).sound


def test_labels_boxes_and_tasks_are_counted(tmp_path):
    rows = [
        {"prompt": "?", "reference": {"label": "yes", "dataset": "d", "task": "closed_vqa"}},
        {"prompt": "?", "reference": {"label": "yes", "dataset": "d", "task": "closed_vqa"}},
        {"prompt": "?", "reference": {"labels": ["x", "y"], "label": "x, y"}},
        {"prompt": "?", "reference": {"boxes": {"xyxy": [[0, 0, 1, 1]], "space": "rel1", "labels": ["cell"]}}},
        {"prompt": "?", "reference": {"boxes": {"xyxy": [], "space": "rel1"}}},
    ]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (facts,) = check_data([Split(name="d", source=JsonlSource(tmp_path / "d.jsonl"))]).splits
    assert facts.labels == Counter({"yes": 2, "x": 1, "y": 1, "cell": 1})
    assert facts.boxes == Counter({1: 1, 0: 1})
    assert facts.tasks == Counter({"d: closed_vqa": 2, "-: -": 3})


def test_tokens_are_counted_with_image_and_end_token(vl_policy, image):
    examples = [ask("a", image(1), prompt="yes", answer="no"), ask("b", prompt="yes" * 3, answer="no no")]
    (facts,) = check_data([split("rl", *examples)], policy=vl_policy).splits
    prompts = [len(vl_policy.encode(example)) for example in examples]
    answers = [len(vl_policy.encode_answer(example.answer)) for example in examples]
    assert facts.tokens["prompt"] == {
        "n": 2,
        "median": float(np.median(prompts)),
        "p95": pytest.approx(np.quantile(prompts, 0.95)),
        "max": max(prompts),
    }
    assert facts.tokens["answer"]["max"] == max(answers)
    (facts,) = check_data([split("rl", ask("long", prompt="no " * 3000))], policy=vl_policy).splits
    assert "exceed the model's context of" in facts.faults[0]


def test_places_are_evenly_spaced():
    assert spaced(5, 9) == [0, 1, 2, 3, 4]
    assert spaced(9, 3) == [0, 4, 8]
    assert spaced(0, 3) == []


def test_data_that_are_made_are_looked_at_in_part():
    made = split("rl", *(ask(str(k)) for k in range(2000)), made=True)
    assert check_data([made]).splits[0].checked == 1000
    assert check_data([made], limit=7).splits[0].checked == 7


def config(**data):
    stage = {"steps": 1, "kind": "sft"}
    content = {
        "name": "c",
        "data": {"train": "nuclei/train", **data},
        "stages": [
            {"name": "one", **stage, "data": {"train": [{"data": "cells/rendered"}, {"data": "nuclei/train"}]}},
            {"name": "two", **stage},
            {"name": "three", **stage, "data": {"train": [{"data": "cells/rendered"}, {"data": {"jsonl": "a.jsonl"}}]}},
        ],
    }
    return RunConfig.model_validate(content)


def test_the_data_of_a_configuration_are_each_read_once():
    assert config_data(config(test="nuclei/test")) == [
        ("one, three", "cells/rendered", False),
        ("one, two", "nuclei/train", False),
        ("three", {"jsonl": "a.jsonl"}, False),
        ("test", "nuclei/test", True),
    ]
    both = config(test="nuclei/test", validation="nuclei/report/test")
    assert [each[0] for each in config_data(both)[-2:]] == ["validation", "test"]


def test_data_given_twice_are_two_splits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"prompt": "?"}\n')
    splits, _ = splits_of(["a.jsonl", "a.jsonl"], seed=0)
    assert [each.name for each in splits] == ["a.jsonl 1", "a.jsonl 2"]


def test_several_data_are_splits_held_out_from_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"prompt": "?"}\n')
    splits, policy = splits_of(["a.jsonl", "{jsonl: a.jsonl}"], seed=0)
    assert ([each.name for each in splits], policy) == (["a.jsonl", "{jsonl: a.jsonl}"], None)
    assert [leak.kind for leak in check_data(splits).leaks] == ["question"]


def test_files_are_written_and_the_sheet_shows_boxes(tmp_path):
    examples = [NucleiCrops("test")[index] for index in range(7)]
    report = check_data([split("nuclei/test", *examples)])
    files = write_check(report, tmp_path / "out")
    assert [file.name for file in files] == ["check.json", "nuclei_test.png"]
    content = json.loads(files[0].read_text())
    assert content["sound"] is True
    labels = {"0 nuclei": 2, "1 nucleus": 2, "2 nuclei": 1, "3 nuclei": 1, "4 nuclei": 1}  # crop i shows i % 5
    assert content["splits"]["nuclei/test"]["labels"] == labels
    assert content["splits"]["nuclei/test"]["distinct"]["image"] == 7
    sheet = np.asarray(Image.open(files[1]).convert("RGB")).astype(int)
    green = (np.abs(sheet - [0x2A, 0x9D, 0x4E]) < 40).all(axis=-1)
    assert green.sum() > 500, "true boxes are drawn"


def test_the_command_says_what_is_wrong_and_ends_with_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"id": "x", "prompt": "same?", "reference": {"label": "[yes]"}}\n')
    (tmp_path / "b.jsonl").write_text('{"id": "y", "prompt": "same?"}\nbroken\n')
    done = CliRunner().invoke(app, ["data", "check", "a.jsonl", "b.jsonl"])
    assert done.exit_code == 1
    said = " ".join(done.output.split())
    assert f"fault: {tmp_path / 'b.jsonl'}:2: example 'b.jsonl:2': the line is not JSON" in said
    assert "leak: a.jsonl and b.jsonl share 1 question; the first: example 'x' and 'y' (same?)" in said
    assert "a.jsonl, labels: [yes] 1" in said
    assert "the data are not sound: 1 fault(s), 1 leak(s)" in said
    done = CliRunner().invoke(app, ["data", "check", "a.jsonl", "--json", "--out", "o"])
    assert done.exit_code == 0
    assert json.loads(done.output) == json.loads((tmp_path / "o" / "check.json").read_text())


def test_a_configuration_is_checked_with_its_own_tokenizer_and_no_weights(tmp_path, monkeypatch, tiny_vl):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.yaml").write_text(
        f"name: r\nmodel: {{path: {tiny_vl}}}\ndata: {{train: nuclei/train, test: nuclei/test}}\n"
        "stages: [{name: sft, kind: sft, steps: 1}]\n"
    )
    splits, policy = splits_of(["run.yaml"], seed=0)
    assert {each.device.type for each in policy.model.parameters()} == {"meta"}
    assert [(each.name, each.made, each.held_out) for each in splits] == [("sft", True, False), ("test", False, True)]
    report = check_data(splits, policy=policy, limit=6)
    assert report.sound
    assert report.splits[1].tokens["prompt"]["n"] == 6
