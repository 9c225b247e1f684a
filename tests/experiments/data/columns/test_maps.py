"""Every shipped map on a tiny file of exactly the published shape, its quirks included."""

import csv
import io
import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from groundrl.experiments.data import load_source
from groundrl.experiments.data.columns.column_map import load_map, shipped_maps
from groundrl.experiments.tasks import TASKS
from groundrl.rewards import Completion, DataError, parse_reward


def jsonl(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def csv_file(path, *rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def picture_bytes(seed=0, size=(6, 4)):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def read(tmp_path, reader, path, **more):
    """The examples of a file, each sound, and its gold answer best under its task's own reward."""
    source = load_source({"read": reader, "path": path, **more}, seed=0, base=tmp_path)
    examples = [source[index] for index in range(len(source))]
    for example in examples:
        assert example.reference["dataset"] == load_map(reader, tmp_path).dataset
        reward = parse_reward(TASKS[example.reference["task"]].reward)
        score = reward.score(Completion(text=example.answer), example)
        assert score.status == "abstain" or score.value == reward.range[1]
    return examples


def test_medqa_states_its_answer_twice(tmp_path):
    row = {
        "question": "Which drug?",
        "answer": "Aspirin",
        "options": {"A": "Heparin", "B": "Aspirin", "C": "Iron", "D": "None"},
        "meta_info": "step1",
        "answer_idx": "B",
        "metamap_phrases": ["drug"],
    }
    jsonl(tmp_path / "t.jsonl", row, row | {"answer": "Iron"})
    source = load_source({"read": "medqa", "path": "t.jsonl"}, seed=0, base=tmp_path)
    example = source[0]
    assert example.prompt.startswith("Which drug?\nA. Heparin\nB. Aspirin\nC. Iron\nD. None\n")
    assert (example.answer, example.reference.choices[1], example.reference["meta_info"]) == ("B", "Aspirin", "step1")
    assert "options" not in example.reference.columns
    wrong = r"t.jsonl:2: example 'medqa/1': the right choice is not clear: `answer_idx` says B but `answer.*` says C"
    with pytest.raises(DataError, match=wrong):
        source[1]


def test_medmcqa_hides_the_answers_of_its_test_set(tmp_path):
    row = {"id": "u1", "question": "Q", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": 3, "subject_name": "S"}
    pq.write_table(pa.Table.from_pylist([row, row | {"id": "u2", "cop": -1}]), tmp_path / "v.parquet")
    source = load_source({"read": "medmcqa", "path": "v.parquet"}, seed=0, base=tmp_path)
    assert (source[0].id, source[0].answer, source[0].reference["subject_name"]) == ("medmcqa/u1", "D", "S")
    hidden = r"v.parquet: row 2: example 'medmcqa/u2': `cop` is -1 \(-1 hides the answer\), but the choices are 0 to 3"
    with pytest.raises(DataError, match=hidden):
        source[1]


def test_pubmedqa_in_both_forms(tmp_path):
    data = {
        "Question": "Does it?",
        "Context": ["One.", "Two."],
        "Options": {"A": "yes", "B": "no", "C": "maybe"},
        "Correct Option": "C",
        "Correct Answer": "maybe",
        "Long Answer": "It may.",
    }
    pq.write_table(pa.Table.from_pylist([{"id": "7", "data": data, "subject_name": None}]), tmp_path / "p.parquet")
    (example,) = read(tmp_path, "pubmedqa", "p.parquet")
    assert example.prompt.startswith("One.\nTwo.\n\nDoes it?\nA. yes\nB. no\nC. maybe\n")
    assert example.answer == "C"
    original = {"QUESTION": "Does it?", "CONTEXTS": ["One."], "LABELS": ["B"], "MESHES": [], "LONG_ANSWER": "It may."}
    file = {"123": original | {"final_decision": "no"}, "124": original | {"final_decision": "perhaps"}}
    (tmp_path / "ori_pqal.json").write_text(json.dumps(file, indent=1))
    source = load_source({"read": "pubmedqa_original", "path": "ori_pqal.json"}, seed=0, base=tmp_path)
    assert (source[0].id, source[0].block, source[0].answer) == ("pubmedqa/123", "123", "B")
    assert source[0].reference["LONG_ANSWER"] == "It may."
    wrong = r"ori_pqal.json:14: example 'pubmedqa/124': `final_decision` is 'perhaps', which is none of the choices"
    with pytest.raises(DataError, match=wrong):
        source[1]


def test_mmlu_counts_from_zero(tmp_path):
    features = datasets.Features(
        {
            "question": datasets.Value("string"),
            "choices": datasets.Sequence(datasets.Value("string")),
            "answer": datasets.ClassLabel(names=["A", "B", "C", "D"]),
        }
    )
    rows = {"question": ["Q"], "choices": [["w", "x", "y", "z"]], "answer": [2]}
    datasets.DatasetDict({"test": datasets.Dataset.from_dict(rows, features=features)}).save_to_disk(tmp_path / "mmlu")
    (example,) = read(tmp_path, "mmlu", "mmlu", split="test")
    assert (example.answer, example.reference.choices) == ("C", ("w", "x", "y", "z"))
    for split in (None, "train"):
        spec = {"read": "mmlu", "path": "mmlu"} | ({"split": split} if split else {})
        with pytest.raises(ValueError, match="has the splits test; set `split` to one of them"):
            load_source(spec, seed=0, base=tmp_path)


def test_medbullets_with_four_and_five_choices(tmp_path):
    four = {"question": "Q", "options": {"A": "w", "B": "x", "C": "y", "D": "z", "E": None}, "answer_idx": "D"}
    pq.write_table(pa.Table.from_pylist([four]), tmp_path / "op4.parquet")  # the absent E of another row
    (example,) = read(tmp_path, "medbullets_op4", "op4.parquet")
    assert (example.answer, len(example.reference.choices)) == ("D", 4)
    csv_file(
        tmp_path / "op5.csv",
        {"question": 'A "b",\nc?', "answer_idx": "E", "opa": "1", "opb": "2", "opc": "3", "opd": "4", "ope": "5"},
    )
    (example,) = read(tmp_path, "medbullets_op5", "op5.csv")
    assert (example.answer, example.prompt[:10]) == ("E", 'A "b",\nc?\n')


def test_supergpqa_has_up_to_ten_choices(tmp_path):
    row = {"uuid": "x", "question": "Q", "options": [f"o{k}" for k in range(10)], "answer": "o9", "answer_letter": "J"}
    jsonl(tmp_path / "s.jsonl", row | {"discipline": "Medicine"}, row | {"discipline": "Law"})
    (example,) = read(tmp_path, "supergpqa", "s.jsonl", where={"discipline": "Medicine"})
    assert (example.answer, len(example.reference.choices)) == ("J", 10)


def test_medxpertqa_writes_its_choices_behind_the_question_too(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "images" / name).write_bytes(picture_bytes())
    row = {
        "id": "MM-1",
        "question": "What is it?\nAnswer Choices: (A) p (B) q (C) r (D) s (E) t",
        "options": {"A": "p", "B": "q", "C": "r", "D": "s", "E": "t"},
        "label": "E",
        "images": ["a.png", "b.png"],
        "medical_task": "Diagnosis",
    }
    jsonl(tmp_path / "test.jsonl", row)
    (example,) = read(tmp_path, "medxpertqa_mm", "test.jsonl")
    assert example.prompt.startswith("What is it?\nA. p\nB. q\n")
    assert "Answer Choices" not in example.prompt
    assert ([image.source.name for image in example.images], example.block) == (["a.png", "b.png"], "MM-1")
    ten = {
        "id": "Text-1",
        "question": "Q",
        "options": {letter: letter.lower() for letter in "ABCDEFGHIJ"},
        "label": "J",
    }
    jsonl(tmp_path / "text.jsonl", ten)
    (example,) = read(tmp_path, "medxpertqa_text", "text.jsonl")
    assert (example.answer, example.images) == ("J", ())


def test_pmc_vqa_repeats_the_letters_in_its_choices(tmp_path, picture):
    picture("figures/PMC1.jpg")
    row = {
        "index": "0",
        "Figure_path": "PMC1.jpg",
        "Caption": "c",
        "Question": " What? ",
        "Choice A": " A:Lung ",
        "Choice B": " B:Liver ",
        "Choice C": " C:Heart ",
        "Choice D": " D:Brain ",
        "Answer": "B",
        "split": "test",
    }
    csv_file(tmp_path / "test_2.csv", row, row | {"index": "1", "Choice A": "A: B and C", "Choice B": "Only B"})
    first, second = read(tmp_path, "pmc_vqa", "test_2.csv")
    assert first.reference.choices == ("Lung", "Liver", "Heart", "Brain")
    assert second.reference.choices[:2] == ("A: B and C", "Only B"), "one without its letter: none has a prefix"
    assert (first.answer, first.block) == ("B", "PMC1.jpg")


def test_omnimedvqa_states_the_text_and_has_two_to_four_choices(tmp_path, picture):
    picture("Images/a.png")
    folder = tmp_path / "QA_information" / "Open-access"
    folder.mkdir(parents=True)
    row = {
        "dataset": "ACRIMA",
        "question_id": "ACRIMA_0",
        "question_type": "Disease Diagnosis",
        "question": "What?",
        "gt_answer": "glaucoma.",
        "image_path": "Images/a.png",
        "option_A": "No",
        "option_B": "Glaucoma",
        "modality_type": "Fundus",
    }
    (folder / "ACRIMA.json").write_text(json.dumps([row], indent=4))
    more = {"question_id": "B_0", "option_C": "x", "option_D": "y", "gt_answer": "z"}
    (folder / "B.json").write_text(json.dumps([row | more | {"gt_answer": "y"}, row | more], indent=4))
    spec = {"read": "omnimedvqa", "path": "QA_information/Open-access/*.json", "images": "."}
    source = load_source(spec, seed=0, base=tmp_path)
    assert len(source) == 3
    assert (source[0].answer, len(source[0].reference.choices), source[1].answer) == ("B", 2, "D")
    assert source[0].reference["source_dataset"] == "ACRIMA", "the file's own; `dataset` is the data set's name"
    with pytest.raises(DataError, match=r"B.json:15: example 'omnimedvqa/B_0': `gt_answer` is 'z', which is none of"):
        source[2]


def test_mmmu_writes_lists_as_text_and_names_its_images(tmp_path):
    images = {f"image_{k}": {"bytes": picture_bytes(k), "path": None} if k < 3 else None for k in range(1, 8)}
    choice = {
        "id": "validation_Pharmacy_1",
        "question": "Compare <image 2> with <image 1>.",
        "options": "['It\\'s <image 2>', \"none\"]",
        "answer": "A",
        "question_type": "multiple-choice",
        **images,
    }
    opened = choice | {"id": "o", "options": "[]", "answer": "12.5", "question_type": "open"}
    pq.write_table(pa.Table.from_pylist([choice, opened]), tmp_path / "m.parquet")
    first, second = read(tmp_path, "mmmu", "m.parquet")
    assert first.reference.choices == ("It's <image>", "none")
    assert first.prompt.startswith("Compare <image> with <image>.\nA. It's <image>\n")
    assert [image.source for image in first.images] == [picture_bytes(k) for k in (2, 1, 2)]
    assert (second.reference["task"], second.answer) == ("open_vqa", "12.5")
    evil = "__import__('os').system('touch " + str(tmp_path / "ran") + "')"
    for written, message in {
        evil: "which is no list",
        "[" * 5000 + "]" * 5000: "which is no list",
        "['" + "a" * 100_000 + "']": "has 100004 characters, more than 100000",
        "[['a'], 'b']": "which is no list of texts",
        "{'a': 1}": "which is no list of texts",
    }.items():
        pq.write_table(pa.Table.from_pylist([choice | {"options": written}]), tmp_path / "m.parquet")
        with pytest.raises(DataError, match=message):
            load_source({"read": "mmmu", "path": "m.parquet"}, seed=0, base=tmp_path)[0]
    assert not (tmp_path / "ran").exists()
    pq.write_table(pa.Table.from_pylist([choice | {"question": "<image 3>?"}]), tmp_path / "m.parquet")
    with pytest.raises(DataError, match="names <image 3>, but there is no such image"):
        load_source({"read": "mmmu", "path": "m.parquet"}, seed=0, base=tmp_path)[0]


def test_slake_calls_more_closed_than_yes_and_no(tmp_path, picture):
    picture("imgs/xmlab1/source.jpg")
    row = {
        "img_id": 1,
        "img_name": "xmlab1/source.jpg",
        "question": "Which lung?",
        "answer": "Left",
        "q_lang": "en",
        "location": "Lung",
        "modality": "CT",
        "answer_type": "CLOSED",
        "base_type": "vqa",
        "content_type": "Position",
        "triple": ["vhead", "_", "_"],
        "qid": 11,
    }
    rows = [row, row | {"answer": "Yes", "qid": 12}, row | {"q_lang": "zh", "qid": 13}]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    left, yes = read(tmp_path, "slake", "test.json", where={"q_lang": "en"})
    assert (left.reference["task"], left.answer) == ("open_vqa", "Left")
    assert (yes.reference["task"], yes.answer, yes.id) == ("closed_vqa", "yes", "slake/12")
    assert left.block == yes.block == "xmlab1/source.jpg"
    assert (left.reference["answer_type"], left.reference["triple"]) == ("CLOSED", ["vhead", "_", "_"])


def test_vqa_rad_has_numbers_trailing_spaces_and_paraphrases(tmp_path, picture):
    picture("images/synpic1.jpg")
    row = {
        "qid": 1,
        "phrase_type": "freeform",
        "qid_linked_id": "03f451",
        "image_name": "synpic1.jpg",
        "question": "How many?",
        "answer": 4,
        "answer_type": "OPEN",
    }
    para = row | {"qid": 2, "phrase_type": "test_para", "question": "Any?", "answer": "No ", "answer_type": "CLOSED "}
    (tmp_path / "VQA_RAD.json").write_text(json.dumps([row, para]))
    first, second = read(tmp_path, "vqa_rad", "VQA_RAD.json")
    assert (first.answer, first.reference["task"]) == ("4", "open_vqa")
    assert (second.answer, second.reference["task"]) == ("no", "closed_vqa")
    assert first.block == second.block == "03f451"
    assert first.reference["qid_linked_id"] == "03f451"
    wanted = {"phrase_type": ["test_freeform", "test_para"]}
    assert [each.id for each in read(tmp_path, "vqa_rad", "VQA_RAD.json", where=wanted)] == ["vqa_rad/2"]


@pytest.mark.parametrize("reader", ["vqa_rad_hf", "path_vqa"])
def test_hugging_face_sets_hold_their_pictures(reader, tmp_path):
    rows = {"image": [Image.new("RGB", (6, 4))] * 2, "question": ["Is it?", "What?"], "answer": ["yes", "a cyst"]}
    features = {"image": datasets.Image(), "question": datasets.Value("string"), "answer": datasets.Value("string")}
    datasets.Dataset.from_dict(rows, features=datasets.Features(features)).save_to_disk(tmp_path / "set")
    closed, opened = read(tmp_path, reader, "set")
    assert (closed.reference["task"], opened.reference["task"]) == ("closed_vqa", "open_vqa")
    assert (closed.images[0].width, closed.images[0].height) == (6, 4)
    assert closed.block == opened.block, "questions about one picture are one block"
    with pytest.raises(ValueError, match=r"`split` is 'test', but .*set is a single data set"):
        load_source({"read": reader, "path": "set", "split": "test"}, seed=0, base=tmp_path)


def test_reports_in_medevalkits_layout(tmp_path, picture):
    picture("images/CXR1/0.png")
    picture("images/CXR1/1.png")
    row = {"id": "CXR1", "image": ["CXR1/0.png", "CXR1/1.png"], "findings": "Clear\n lungs.", "impression": "Normal."}
    rows = [row, row | {"id": "x", "findings": "", "impression": None}, row | {"image": "CXR1/0.png", "findings": ""}]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    two, one = read(tmp_path, "medevalkit_reports", "test.json")
    assert two.answer == two.reference.report == "Findings: Clear lungs. Impression: Normal."
    assert two.prompt == "Generate a detailed radiology report for this chest X-ray."
    assert (len(two.images), len(one.images), one.answer) == (2, 1, "Impression: Normal.")
    spec = {"read": "medevalkit_reports", "path": "test.json"}
    assert load_source(spec, seed=0, base=tmp_path).left_out == 1
    (only,) = read(tmp_path, "report_summaries", "test.json")
    assert only.prompt == "Clear\n lungs.\n\nSummarise these findings as an impression."
    assert (only.reference.report, only.images) == ("Normal.", ())


def test_chexpert_plus_by_patient(tmp_path, picture):
    picture("train/patient1/study1/view1.jpg")
    row = {
        "path_to_image": "train/patient1/study1/view1.jpg",
        "frontal_lateral": "Frontal",
        "deid_patient_id": "patient1",
        "split": "train",
        "section_findings": "",
        "section_impression": "1. No change,\n2. none.",
    }
    csv_file(tmp_path / "df.csv", row, row | {"section_impression": ""}, row | {"split": "valid"})
    (example,) = read(tmp_path, "chexpert_plus", "df.csv", where={"split": "train"})
    assert (example.block, example.answer) == ("patient1", "Impression: 1. No change, 2. none.")


@pytest.mark.parametrize("row", [{"data": {"foo": 1}}, {"data": "x"}])
def test_fields_of_an_object_are_found_and_expected_too(tmp_path, row):
    jsonl(tmp_path / "w.jsonl", row)
    found = "data, data.foo" if isinstance(row["data"], dict) else "data"
    wanted = (
        r"w.jsonl is not what the map pubmedqa reads: it has no data.Question, .*; expected: data.Question, .*"
        rf"data.Correct Option.*; found: {found}$"
    )
    with pytest.raises(ValueError, match=wanted):
        load_source({"read": "pubmedqa", "path": "w.jsonl"}, seed=0, base=tmp_path)


def test_captions(tmp_path, picture):
    picture("a.png")
    jsonl(tmp_path / "c.jsonl", {"image": "a.png", "id": "1", "caption": "A cyst."})
    (example,) = read(tmp_path, "captions", "c.jsonl")
    assert (example.prompt, example.reference.report) == ("Describe this image.", "A cyst.")


@pytest.mark.parametrize("name", shipped_maps())
def test_every_map_refuses_a_file_of_another_kind(name, tmp_path):
    jsonl(tmp_path / "wrong.jsonl", {"text": "hello", "label": 1})
    with pytest.raises(ValueError, match=r"wrong.jsonl is not what the map .* expected: .*; found: text, label"):
        load_source({"read": name, "path": "wrong.jsonl"}, seed=0, base=tmp_path)
