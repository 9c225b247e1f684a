"""Evaluations of a tiny random model: same files twice, resumed after a kill, any batch size, two models compared."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from groundrl.experiments.cli.main import app
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.evals import answers as answers_module
from groundrl.experiments.evals.compare import compare_evaluations, comparison_markdown
from groundrl.experiments.evals.config import load_eval_config
from groundrl.experiments.evals.evaluation import evaluate_model
from groundrl.experiments.evals.medmo_tables import beside
from groundrl.rewards.core.function import load_module
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.sampling.local import LocalEngine

web = load_module("judge_server", str(Path(__file__).parents[2] / "judge_server.py"))
QUESTIONS = [
    {"id": f"q{k}", "prompt": "How many nuclei?" * (1 + k % 3), "block": f"doc{k // 2}"}
    | {"reference": {"label": "AB"[k % 2], "choices": ["two nuclei", "no nuclei"]}}
    for k in range(5)
]
PLAN = {
    "name": "small",
    "data": [
        {"name": "nuclei", "task": "grounding", "data": "nuclei/test", "limit": 5},
        {"name": "medqa", "task": "multiple_choice", "data": "questions.jsonl"},
    ],
    "sampling": {"max_new_tokens": 8},
    "batch_size": 3,
}


@pytest.fixture
def work(tmp_path):
    """A folder with questions in it."""
    (tmp_path / "questions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in QUESTIONS))
    return tmp_path


def evaluated(model, work, name, **changes):
    config, _ = load_eval_config(PLAN, changes)
    return evaluate_model(str(model), config, base=work, folder=work / name)


def files(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_twice_is_identical_and_figures_have_intervals_and_n(tiny_vl, work):
    content = evaluated(tiny_vl, work, "a")
    evaluated(tiny_vl, work, "b")
    assert files(work / "a") == files(work / "b")
    figures = content["datasets"]["medqa"]["metrics"]
    assert figures["choice_accuracy"] | {"ci95": 0} == {"value": 0.0, "ci95": 0, "n": 5, "num_blocks": 3}
    assert figures["unparsed"]["value"] == 1.0, "a random model writes no option, and that counts as wrong"
    assert set(content["datasets"]["nuclei"]["by_size"]) <= {"small", "medium", "large"}
    text = (work / "a" / "evaluation.md").read_text()
    assert "| medqa | choice_accuracy | 0.0 | [0.0, 0.0]* | 5 | 3 |" in text
    assert "compat: medevalkit" in text
    assert "| GPT-4.1 | 89.1 |" in text, "the published column of the data set named medqa"
    assert (work / "a" / "evaluation.png").read_bytes().startswith(b"\x89PNG")


def test_an_interrupted_evaluation_goes_on_and_ends_the_same(tiny_vl, work, monkeypatch):
    evaluated(tiny_vl, work, "whole")
    written = []

    def stops(rows, path, **more):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(rows, path, **more)

    write = answers_module.write_table
    monkeypatch.setattr(answers_module, "write_table", stops)
    with pytest.raises(KeyboardInterrupt):
        evaluated(tiny_vl, work, "cut")
    monkeypatch.undo()
    stamps = {path: path.stat().st_mtime_ns for path in written}
    evaluated(tiny_vl, work, "cut")
    assert {path: path.stat().st_mtime_ns for path in written} == stamps, "what was answered is not asked again"
    assert files(work / "cut") == files(work / "whole")


def test_a_killed_process_leaves_whole_parts_only(tiny_vl, work):
    (work / "plan.yaml").write_text(json.dumps(PLAN | {"batch_size": 1}))
    command = [sys.executable, "-m", "groundrl.experiments.cli", "eval", str(tiny_vl), "plan.yaml", "--out", "cut"]
    process = subprocess.Popen(command, cwd=work, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (parts := list((work / "cut").rglob("part-*.parquet"))):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert all(pq.ParquetFile(part).read().num_rows == 1 for part in parts)
    for name in ("cut", "whole"):
        evaluated(tiny_vl, work, name, batch_size=1)
    assert files(work / "cut") == files(work / "whole")


def test_another_batch_size_changes_no_greedy_prediction_except_at_ties(tiny_vl, work):
    evaluated(tiny_vl, work, "a")
    evaluated(tiny_vl, work, "b", batch_size=5)
    found = compare_evaluations(work / "a", work / "b")
    for each in found["datasets"].values():
        assert each["predictions"]["different"] == 0
        assert sum(each["predictions"].values()) == 5
        if not each["predictions"]["tied"]:
            assert all(metric["value"] == 0.0 for metric in each["metrics"].values())


def test_one_answer_is_sampled_for_each_example(tiny_vl, work, monkeypatch):
    asked, generate = [], LocalEngine.generate

    def counted(self, examples, *, group_size, **more):
        asked.append(len(examples) * group_size)
        return generate(self, examples, group_size=group_size, **more)

    monkeypatch.setattr(LocalEngine, "generate", counted)
    evaluated(tiny_vl, work, "a")
    assert asked == [3, 2, 3, 2]


def test_two_models_are_compared_example_by_example(tiny_vl, work):
    other = work / "other"
    policy = Policy.load(tiny_vl)
    for weights in policy.model.parameters():
        weights.data *= -1.5  # as another model
    policy.save(other)
    evaluated(tiny_vl, work, "a")
    evaluated(other, work, "b")
    for name in ("a", "b"):  # as if one model knew two answers of three documents more
        rows = pq.ParquetFile(work / name / "scores.parquet").read().to_pylist()
        for row in rows:
            if row["dataset"] == "medqa":
                row["choice_accuracy"] = [float(name == "b" and row["example_id"] in ("q0", "q4")), 1.0]
        answers_module.write_table(rows, work / name / "scores.parquet")
    found = compare_evaluations(work / "a", work / "b")
    difference = found["datasets"]["medqa"]["metrics"]["choice_accuracy"]
    assert (difference["value"], difference["n"], difference["num_blocks"]) == (pytest.approx(0.4), 5, 3)
    # Documents hold 2, 2 and 1 questions and gain 1, 0 and 1: d = (gain - 0.4 n) / 5 = 0.04, -0.16, 0.12, the standard
    # error sqrt(3/2 (0.0016 + 0.0256 + 0.0144)) = 0.2498, times t = 4.3027 of two degrees of freedom: 1.0748.
    assert difference["ci95"] == pytest.approx([-0.6748, 1.4748], abs=1e-4)
    assert found["datasets"]["medqa"]["predictions"]["different"] > 0
    assert "| medqa | choice_accuracy | +40.0 | [-67.5, +147.5]* | 5 | 3 |" in comparison_markdown(found)


def test_what_failed_is_asked_again_and_stands_in_its_place(work):
    plan = PLAN | {"data": [PLAN["data"][1] | {"limit": 3}]}
    config, _ = load_eval_config(plan, {})
    asked = []

    def act(handler, body):
        question = json.dumps(body["messages"])
        asked.append(question)
        first = question.count("nuclei") == 1 and len(asked) <= 3
        (web.fails(400, "busy") if first else web.says("A"))(handler, body)

    with web.judge_server() as server:
        server.act = act
        for errors in (1, 0):
            content = evaluate_model(f"m@{server.url}", config, base=work, folder=work / "a")
            assert content["datasets"]["medqa"]["errors"] == errors
    assert len(asked) == 4, "what was answered is not asked again"
    (part,) = (work / "a" / "rows" / "medqa").glob("part-*.parquet")
    rows = pq.ParquetFile(part).read().to_pylist()
    assert [(row["index"], row["error"]) for row in rows] == [(0, None), (1, None), (2, None)]


def test_only_examples_that_both_have_are_compared(tiny_vl, work):
    evaluated(tiny_vl, work, "all")
    evaluated(tiny_vl, work, "some", **{"data.nuclei.limit": 2, "data.medqa.limit": 4})
    for first, second in (("all", "some"), ("some", "all")):
        found = compare_evaluations(work / first, work / second)["datasets"]
        assert {name: each["examples"] for name, each in found.items()} == {"nuclei": 2, "medqa": 4}
        assert {name: sum(each["predictions"].values()) for name, each in found.items()} == {"nuclei": 2, "medqa": 4}


def test_a_folder_of_another_evaluation_is_refused(tiny_vl, work):
    evaluated(tiny_vl, work, "a")
    with pytest.raises(ConfigError, match="another model or configuration"):
        evaluated(tiny_vl, work, "a", seed=1)
    (work / "photos").mkdir()
    (work / "photos" / "me.png").write_text("")
    with pytest.raises(ConfigError, match="exists and is no evaluation"):
        evaluated(tiny_vl, work, "photos")


def test_an_example_at_fault_stops_or_is_left_out_and_counted(tiny_vl, work):
    with (work / "questions.jsonl").open("a") as file:
        file.write(json.dumps({"id": "long", "prompt": "nuclei " * 3000, "reference": {"label": "A"}}) + "\n")
    with pytest.raises(ValueError, match=r"'long': .* exceed the model's context"):
        evaluated(tiny_vl, work, "a")
    content = evaluated(tiny_vl, work, "b", on_error="skip")
    assert (content["datasets"]["medqa"]["examples"], content["datasets"]["medqa"]["errors"]) == (6, 1)
    assert content["datasets"]["medqa"]["metrics"]["unparsed"]["n"] == 5
    assert "1 of 6 examples have no answer" in (work / "b" / "evaluation.md").read_text()


MINE = """
from groundrl.experiments import metric

@metric(range=(0, 20))
def letters(completion, example):
    \'\'\'How many letters.\'\'\'
    return float(min(20, len(completion.text)))

@metric(reads=("boxes",))
def one_box(completion, example):
    return None if example.reference.boxes is None else float(len(completion.boxes or ()) == 1)
"""


def test_a_metric_of_ones_own_is_measured_shown_and_compared(tiny_vl, work):
    (work / "mine.py").write_text(MINE)
    own = {"letters": "mine.py:letters", "one_box": "mine.py:one_box"}
    for name, batch in (("a", 3), ("b", 2)):
        content = evaluated(tiny_vl, work, name, metrics=own, batch_size=batch)
    assert content["metrics"]["letters"] == {"definition": "How many letters.", "range": [0.0, 20.0]}
    for name, has in (("nuclei", {"letters", "one_box"}), ("medqa", {"letters"})):
        figures = content["datasets"][name]["metrics"]
        assert set(figures) & {*own} == has, "what a data set cannot be asked is left out, as in a run"
        rows = pq.ParquetFile(work / "b" / "rows" / name / "part-00000000.parquet").read().to_pylist()
        rows += pq.ParquetFile(work / "b" / "rows" / name / "part-00000002.parquet").read().to_pylist()
        rows += pq.ParquetFile(work / "b" / "rows" / name / "part-00000004.parquet").read().to_pylist()
        assert figures["letters"]["value"] == sum(min(20, len(row["text"])) for row in rows) / 5 > 0
    text = (work / "b" / "evaluation.md").read_text()
    assert f"| medqa | letters | {figures['letters']['value']:.3f} |" in text, "no share, so no percentage"
    assert "- `letters`: How many letters.\n" in text
    found = compare_evaluations(work / "a", work / "b")
    assert found["datasets"]["medqa"]["metrics"]["letters"]["n"] == 5
    assert "| medqa | letters | +0.000 |" in comparison_markdown(found)


def test_a_data_sets_metrics_are_of_the_registry_or_ones_own(tiny_vl, work):
    (work / "mine.py").write_text(MINE)
    (work / "plan.yaml").write_text(
        json.dumps(PLAN | {"data": [PLAN["data"][1] | {"metrics": ["letters", "unparsed"]}]})
    )
    command = ["eval", str(tiny_vl), str(work / "plan.yaml"), "--out", str(work / "a")]
    done = CliRunner().invoke(app, [*command, "metrics.letters=mine.py:letters"])
    assert done.exit_code == 0, (done.output, done.exception)
    content = json.loads((work / "a" / "evaluation.json").read_text())
    assert set(content["datasets"]["medqa"]["metrics"]) == {"letters", "unparsed"}


def test_an_evaluation_from_before_metrics_of_ones_own_goes_on(tiny_vl, work):
    evaluated(tiny_vl, work, "a")
    assert "\n  metrics:" not in (work / "a" / "evaluation.yaml").read_text()


def test_a_run_hands_its_own_metrics_on():
    config, _ = load_eval_config("quickstart", {"metrics.letters": "mine.py:letters"})
    assert config.metrics == {"letters": "mine.py:letters"}
    run = {"name": "r", "data": {"train": "a", "test": "b"}, "stages": [{"name": "s", "kind": "sft", "steps": 1}]}
    config, _ = load_eval_config(run | {"metrics": {"tight": "mine.py:tight"}}, {})
    assert config.metrics == {"tight": "mine.py:tight"}


def test_a_label_that_is_none_of_the_choices_is_left_out_and_said(tiny_vl, work):
    rows = [QUESTIONS[0] | {"reference": {"label": "no idea", "choices": ["a", "b"]}}, *QUESTIONS[1:]]
    (work / "questions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    content = evaluated(tiny_vl, work, "a")["datasets"]["medqa"]
    reason = "example 'q0': its label 'no idea' is none of its choices ('a', 'b'), by letter or by text"
    assert content["metrics"]["choice_accuracy"]["n"] == 4
    assert content["unfit"] == {"choice_accuracy": [1, reason]}
    said = f"medqa: choice_accuracy leaves out 1 of 5 examples; {reason}."
    assert said in (work / "a" / "evaluation.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.medqa.limt": 3}, "unknown key data.1.limt; did you mean 'limit'?"),
        ({"data.medqa.task": "multiple_choise"}, "there is no task 'multiple_choise'; did you mean 'multiple_choice'?"),
        ({"data.medqa.metrics": ["bleu"]}, "data.medqa: there is no metric 'bleu'"),
        (
            {"metrics": {"tight": "m.py:t"}, "data.medqa.metrics": ["tigt"]},
            "there is no metric 'tigt'; did you mean 'tight'?",
        ),
        ({"metrics.tight": "m.tight"}, "metrics.tight: write file.py:name, got 'm.tight'"),
        ({"metrics.soft_f1": "m.py:t"}, "a metric cannot be called 'soft_f1': that name is taken"),
        ({"metrics.tight": "none.py:t"}, "there is no metric file"),
        (
            {"data.medqa.metrics": ["soft_f1"]},
            "metric soft_f1 needs boxes in the reference, which data.medqa lacks",
        ),
        ({"data.medqa.name": "nuclei"}, "different names, got nuclei, nuclei"),
        ({"judge": "SoftF1()"}, "judge: it is a Judge"),
    ],
)
def test_a_wrong_configuration_is_one_sentence(changes, message, tiny_vl, work):
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluated(tiny_vl, work, "a", **changes)


def test_a_runs_configuration_stands_for_its_test_data():
    config, _ = load_eval_config("quickstart", {"data.test.limit": 4})
    (data,) = config.data
    assert (config.name, data.data, data.limit, data.task) == ("quickstart", "nuclei/test", 4, None)
    with pytest.raises(ConfigError, match=r"nothing to evaluate on, set data.test"):
        load_eval_config(
            {"name": "x", "data": {"train": "a"}, "stages": [{"name": "s", "kind": "sft", "steps": 1}]}, {}
        )


def test_a_model_that_is_not_there_is_one_sentence(work):
    with pytest.raises(ConfigError, match="there is no model"):
        evaluated(Path("/nowhere/at/all"), work, "a")


def test_each_example_of_a_mixed_data_set_is_measured_as_its_own_task(tiny_vl, work):
    mixed = [
        {"prompt": "Is it normal?", "reference": {"label": "yes", "task": "closed_vqa"}},
        {"prompt": "What is it?", "reference": {"label": "a mass", "task": "open_vqa"}},
        {"prompt": "What is it?", "reference": {"label": "edema", "task": "open_vqa"}},
    ]
    (work / "mixed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in mixed))
    config, _ = load_eval_config(PLAN | {"data": [{"name": "slake", "data": "mixed.jsonl"}]}, {})
    content = evaluate_model(str(tiny_vl), config, base=work, folder=work / "a")["datasets"]["slake"]
    counts = {name: found["n"] for name, found in content["metrics"].items()}
    assert (counts["closed_accuracy"], counts["exact_match"], counts["medevalkit"]) == (1, 2, 3)
    assert content["left_out"] == ["judge"]
    assert "not measured, name a tool in the configuration: judge" in (work / "a" / "evaluation.md").read_text()


def test_a_published_column_of_closed_and_all_has_both(tiny_vl, work):
    rows = [
        {"prompt": "Is it normal?", "reference": {"label": "yes", "task": "closed_vqa"}},
        *({"prompt": "What is it?", "reference": {"label": label, "task": "open_vqa"}} for label in "ab"),
    ]
    (work / "mixed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    config, _ = load_eval_config(PLAN | {"data": [{"name": "slake", "data": "mixed.jsonl"}]}, {})
    content = evaluate_model(str(tiny_vl), config, base=work, folder=work / "a")
    for metric, value in (("medevalkit", 2 / 3), ("medevalkit_closed", 1.0)):
        content["datasets"]["slake"]["metrics"][metric]["value"] = value
    header, shown = beside("mine", content["datasets"])["vqa_accuracy"]
    assert header == ["model", "SLAKE (closed/all)"]
    assert ["**mine** (compat: medevalkit)", "100.0/66.7"] in shown


def test_rows_too_empty_to_be_examples_are_counted(tiny_vl, work):
    one = {"id": "1", "findings": "Clear lungs.", "impression": "Normal."}
    rows = [one, {"id": "2", "findings": "", "impression": ""}]
    (work / "reports.json").write_text(json.dumps(rows))
    plan = PLAN | {"data": [{"name": "notes", "data": {"read": "report_summaries", "path": "reports.json"}}]}
    config, _ = load_eval_config(plan, {})
    content = evaluate_model(str(tiny_vl), config, base=work, folder=work / "a")["datasets"]["notes"]
    assert (content["examples"], content["empty"]) == (1, 1)
    assert "notes: 1 rows of the file are too empty" in (work / "a" / "evaluation.md").read_text()


def test_data_sets_of_one_task_are_also_taken_together(tiny_vl, work):
    sets = [{"name": name, "data": "questions.jsonl", "task": "multiple_choice"} for name in ("medqa", "medmcqa")]
    config, _ = load_eval_config(PLAN | {"data": sets}, {})
    content = evaluate_model(str(tiny_vl), config, base=work, folder=work / "a")
    together = content["tasks"]["multiple_choice"]
    assert together["datasets"] == ["medqa", "medmcqa"]
    assert (together["metrics"]["unparsed"]["n"], together["metrics"]["unparsed"]["num_blocks"]) == (10, 6)


def test_retrieval_compares_hidden_states_and_answers_nothing(tiny_vl, work, image):
    lines = []
    for k in range(4):
        (work / f"{k}.png").write_bytes(image(k // 2).source)
        lines.append({"prompt": "Represent this image.", "images": [f"{k}.png"], "reference": {"pair": f"p{k // 2}"}})
    (work / "pairs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    sets = [{"name": "pairs", "data": "pairs.jsonl", "task": "image_image_retrieval"}]
    config, _ = load_eval_config(PLAN | {"data": sets}, {})
    for _ in range(2):
        content = evaluate_model(str(tiny_vl), config, base=work, folder=work / "a")["datasets"]["pairs"]
    assert {name: found["value"] for name, found in content["metrics"].items()} == {
        "recall_1": 1.0,
        "recall_5": 1.0,
        "recall_10": 1.0,
    }


def test_the_command_compares_and_shows(tiny_vl, work, monkeypatch):
    monkeypatch.chdir(work)
    evaluated(tiny_vl, work, "a")
    evaluated(tiny_vl, work, "b", batch_size=2)
    done = CliRunner().invoke(app, ["eval", "a", "b", "--compare", "--out", "both"])
    assert done.exit_code == 0
    assert json.loads((work / "both" / "comparison.json").read_text())["datasets"]["medqa"]["examples"] == 5
    assert "differ by a numerical tie" in (work / "both" / "comparison.md").read_text()
    for arguments, message in ((["a", "--compare"], "folders of two"), (["a", "none", "--compare"], "no finished")):
        with pytest.raises(ConfigError, match=message):
            CliRunner().invoke(app, ["eval", *arguments], catch_exceptions=False)


@pytest.mark.parametrize(("dead", "code"), [(5, 1), (2, 1), (0, 0)])
def test_what_an_endpoint_does_not_answer_is_exit_1_and_says_how_many(work, dead, code):
    def act(handler, body):
        asked = {json.dumps(each["messages"]) for each in server.asked}
        refused = len(asked) <= dead or json.dumps(body["messages"]) in gone
        gone.update({json.dumps(body["messages"])} if refused else set())
        (web.fails(400, "dead") if refused else web.says("A"))(handler, body)

    gone = set()
    (work / "questions.jsonl").write_text(
        "".join(json.dumps(each | {"prompt": f"{each['prompt']} {each['id']}"}) + "\n" for each in QUESTIONS)
    )
    plan = {"name": "q", "data": [{"name": "medqa", "task": "multiple_choice", "data": str(work / "questions.jsonl")}]}
    (work / "plan.yaml").write_text(json.dumps(plan | {"endpoint": {"concurrency": 1}}))
    with web.judge_server() as server:
        server.act = act
        command = ["eval", f"m@{server.url}", str(work / "plan.yaml"), "--out", str(work / "out")]
        done = CliRunner().invoke(app, command)
        assert (done.exit_code, f"{dead} of 5 examples have no answer" in done.output) == (code, bool(dead)), (
            done.output
        )
        dead, gone = 0, set()
        again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
