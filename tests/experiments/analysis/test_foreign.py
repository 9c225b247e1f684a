"""Logs of other trainers: what they really write is read, and what is none of them is refused with what it holds."""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groundrl.experiments.analysis import log_reward, logged_examples, open_log
from groundrl.experiments.audit.command import named_reward
from groundrl.experiments.cli import main as cli
from groundrl.experiments.rescoring.rescore import rescore
from groundrl.rewards import Format, LabelAccuracy
from groundrl.rewards.run.interop import to_trl

TOTAL = 0.7 * LabelAccuracy().named("label") + 0.3 * Format().named("form")


@pytest.fixture(scope="module")
def trl_log(tmp_path_factory, tiny_text):
    """The output folder of TRL's own trainer after two steps with `log_completions`."""
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    functions, weights = to_trl(TOTAL)

    def logging(prompts, completions, completion_ids, label, log_extra, **columns):
        """What a user does to have the truth in the log."""
        log_extra("label", label)
        log_extra("said", completions)
        return functions[0](prompts, completions, completion_ids, label=label)

    logging.__name__ = "right"
    folder = tmp_path_factory.mktemp("trl")
    settings = trl.GRPOConfig(
        output_dir=str(folder),
        reward_weights=weights,
        max_steps=2,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=4,
        logging_steps=1,
        log_completions=True,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
    )
    trl.GRPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_text),
        processing_class=AutoTokenizer.from_pretrained(tiny_text),
        reward_funcs=[logging, functions[1]],
        args=settings,
        train_dataset=datasets.Dataset.from_dict(
            {"prompt": ["yes or no?", "How many?"] * 2, "label": ["yes", "3"] * 2}
        ),
    ).train()
    return folder


def test_what_trls_own_trainer_wrote(trl_log):
    log = open_log(trl_log)
    rows = log.table.to_pylist()
    assert len(rows) == 16
    assert [(row["step"], row["group"]) for row in rows] == [(s, g) for s in (1, 2) for g in (0, 1) for _ in range(4)]
    assert {example.reference.label for example in log.examples.values()} == {"yes", "3"}
    assert all("said" not in example.reference.columns for example in log.examples.values())
    found = rescore(log, TOTAL)
    for row, new in zip(rows, found.rows, strict=True):
        assert (row["parts/right"], row["parts/form"]) == (new["parts/label"], new["parts/form"])
        assert new["new_advantage"] == pytest.approx(row["advantage"], abs=1e-4)
        assert new["old"] is None
    assert found.summary["notes"] == ["TRL's log has no totals: the advantages stand in for them"]
    assert found.summary["informative"]["gained"] == found.summary["informative"]["lost"] == 0


def test_chat_turns_of_trl(tmp_path):
    turns = [[{"role": "user", "content": "yes or no?"}]] * 2
    table = {
        "step": [3, 3],
        "prompt": turns,
        "completion": [[{"role": "assistant", "content": text}] for text in ("yes", "no")],
        "accuracy": [1.0, float("nan")],
        "label": ["yes", "yes"],
        "advantage": [0.7, -0.7],
    }
    (tmp_path / "completions").mkdir()
    for step in ("00003", "00004"):  # written again at the next step, as TRL does with a batch it goes on with
        pq.write_table(pa.table(table), tmp_path / "completions" / f"completions_{step}.parquet")
    log = open_log(tmp_path)
    rows = log.table.to_pylist()
    assert [(row["text"], row["parts/accuracy"], row["advantage"]) for row in rows] == [
        ("yes", 1.0, [0.7]),
        ("no", None, [-0.7]),
    ]
    assert next(iter(log.examples.values())).messages == tuple(turns[0])


VERL = [
    {"input": "yes?", "output": "yes", "gts": "yes", "score": 1.0, "step": 2, "acc": 1},
    {"input": "no?", "output": "yes", "gts": "no", "score": 0.0, "step": 2, "acc": 0},
    {"input": "yes?", "output": "no", "gts": "yes", "score": 0.0, "step": 2, "acc": 0},
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_verls_rollouts_are_grouped_by_what_was_asked(tmp_path):
    write(tmp_path / "10.jsonl", [{**VERL[0], "step": 10}])
    write(tmp_path / "2.jsonl", VERL)
    log = open_log(tmp_path)
    rows = log.table.to_pylist()
    assert [(r["step"], r["group"], r["text"], r["reward"], r["parts/acc"]) for r in rows] == [
        (2, 0, "yes", 1.0, 1.0),
        (2, 0, "no", 0.0, 0.0),
        (2, 1, "yes", 0.0, 0.0),
        (10, 0, "yes", 1.0, 1.0),
    ]
    found = rescore(log, LabelAccuracy())
    assert [row["new"] for row in found.rows] == [row["reward"] for row in rows]
    assert found.summary["rank_correlation"] == {"mean": 1.0, "groups": 1}


PLAIN = {
    "prompt": "Detect.",
    "completion": "1 cell <box>[[0, 0, 500, 500]]</box>",
    "reference": {"label": "1 cell", "boxes": {"xyxy": [[0, 0, 0.5, 0.5]], "space": "rel1"}},
    "step": 1,
    "reward": 0.25,
    "parts": {"box": 0.5, "label": None},
}


def test_plain_lines_have_the_fields_of_an_example(tmp_path):
    log = open_log(write(tmp_path / "mine.jsonl", [PLAIN, {**PLAIN, "completion": "2 cells"}]))
    assert [row["text"] for row in log.table.to_pylist()] == [PLAIN["completion"], "2 cells"]
    found = rescore(log, log_reward(log, "0.5*SoftF1() + 0.5*LabelAccuracy()"))
    assert [(row["old"], row["new"]) for row in found.rows] == [(0.25, 1.0), (0.25, 0.0)]
    assert found.rows[0]["new_advantage"][0] > 0


def test_a_reference_may_be_a_label_and_other_fields_are_named_and_not_read(tmp_path):
    lines = [
        {"prompt": "1 + 1?", "completion": text, "reference": truth, "model": "m", "temp": 1}
        for text, truth in (("2", "2"), ("3", "2"), ("2", 2))
    ]
    log = open_log(write(tmp_path / "mine.jsonl", lines))
    assert log.notes == ("fields that are not read: model, temp",)
    found = rescore(log, log_reward(log, "LabelAccuracy()"))
    assert [row["new"] for row in found.rows] == [1.0, 0.0, 1.0]
    assert "fields that are not read: model, temp" in found.summary["notes"]


def test_two_questions_of_one_id_stay_two(tmp_path):
    lines = [{"id": "q", "prompt": "?", "completion": "2", "reference": truth} for truth in ("2", "3", "2")]
    log = open_log(write(tmp_path / "mine.jsonl", lines))
    assert log.table["example_id"].to_pylist() == ["q", "q", "q#2"]
    assert [row["new"] for row in rescore(log, log_reward(log, "LabelAccuracy()")).rows] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"question": "?", "answer": "!"}, r"mine.jsonl:2: the line has question, answer; verl's rollouts have input"),
        ({**PLAIN, "rewrad": 1}, r"mine.jsonl:2: unknown field 'rewrad'; did you mean 'reward'"),
        ({**PLAIN, "step": "one"}, r"mine.jsonl:2: `step` is a whole number"),
        ({**PLAIN, "completion": 3}, r"mine.jsonl:2: `completion` is text, got 3"),
        ({**VERL[0], "score": "high"}, r"mine.jsonl:2: `score` is a number, got 'high'"),
        ({**VERL[0], "output": None}, r"mine.jsonl:2: `output` is text, got None"),
    ],
)
def test_a_wrong_line_is_refused_with_what_it_holds(tmp_path, line, message):
    file = write(tmp_path / "mine.jsonl", [PLAIN, line])
    with pytest.raises(ValueError, match=message):
        open_log(file)


def test_a_wrong_parquet_is_refused_with_its_columns(tmp_path):
    file = tmp_path / "completions_00001.parquet"
    pq.write_table(pa.table({"question": ["?"], "step": [1]}), file)
    with pytest.raises(ValueError, match=r"no prompt, completion, advantage; it has question, step; expected step, pr"):
        open_log(tmp_path)
    file.write_bytes(b"PAR?")
    with pytest.raises(ValueError, match="is not a parquet file"):
        open_log(file)


def test_the_audit_takes_the_examples_of_a_run(small_run):
    found = logged_examples(small_run.folder)
    assert {example.id for example in found} >= {row["example_id"] for row in small_run.rollouts.to_pylist()}
    assert all(example.reference.boxes is not None for example in found)


def test_the_audit_takes_the_examples_of_a_log(tmp_path):
    file = write(tmp_path / "mine.jsonl", [{**PLAIN, "id": "a"}, {**PLAIN, "completion": "2 cells"}])
    _, source = named_reward("LabelAccuracy()", data=str(file), seed=0)
    assert [example.id for example in source] == ["a"]
    assert logged_examples(write(tmp_path / "data.jsonl", [{"prompt": "p", "answer": "a"}])) is None


def test_the_command_reads_a_foreign_log(tmp_path, monkeypatch, capsys):
    write(tmp_path / "mine.jsonl", [PLAIN, {**PLAIN, "completion": "2 cells"}])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["groundrl", "rescore", "mine.jsonl", "--reward", "SoftF1()"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert (tmp_path / "rescored" / "rescored.parquet").is_file()
    monkeypatch.setattr(sys, "argv", ["groundrl", "rescore", "nothing.jsonl", "--reward", "SoftF1()"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "nothing.jsonl is not a run" in capsys.readouterr().err
