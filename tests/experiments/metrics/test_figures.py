"""A run's figures by name: what is known, what is refused, and a metric of a user's own."""

import re
from copy import deepcopy

import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from groundrl.experiments import ConfigError, load_config, load_run, load_source, load_sweep, metric, sweep, train
from groundrl.experiments.ablation.settings import load_sweep_settings
from groundrl.experiments.cli.main import app
from groundrl.experiments.metrics import METRICS, RENAMED
from groundrl.experiments.metrics.figures import TAKEN, Figure, check_figure, check_own_name, figure
from groundrl.experiments.recording.evaluation import per_example
from groundrl.experiments.runs.measures import metrics_of
from groundrl.rewards import Completion, Example

MINE = """
from groundrl.experiments import metric
from groundrl.rewards import reward

@metric(range=(0, 1))
def tight(completion, example):
    return 1 / (1 + len(completion.text))

@reward(range=(0, 1))
def even(completion, example):
    return sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids)

@reward(range=(0, 1))
def short(completion, example):
    return 1 / len(completion.token_ids)
"""
QUESTIONS = "".join(
    f'{{"id": "q{k}", "prompt": "Which?", "answer": "A", "reference": {{"label": "A", "choices": ["one", "two"]}}}}\n'
    for k in range(4)
)


def base(folder, model):
    (folder / "mine.py").write_text(MINE)
    (folder / "data.jsonl").write_text(QUESTIONS)
    rl = {"name": "rl", "kind": "rl", "steps": 2, "prompts_per_step": 2, "group_size": 4, "max_new_tokens": 6}
    return {
        "name": "base",
        "audit": "off",  # a toy, which pays an empty answer as much as any
        "model": {"path": str(model)},
        "data": {"train": str(folder / "data.jsonl"), "test": str(folder / "data.jsonl")},
        "rewards": {"even": f"{folder}/mine.py:even", "short": f"{folder}/mine.py:short"},
        "reward": "0.7*even + 0.3*short",
        "metrics": {"tight": f"{folder}/mine.py:tight"},
        "stages": [rl | {"lr": 1e-2, "warmup_steps": 0}],
        "evaluation": {"samples_per_example": 2, "max_new_tokens": 6, "every": 1},
    }


@pytest.mark.parametrize("declared", ["choice_accuracy", "tight"])
def test_a_sweep_declares_any_metric(tmp_path, tiny_text, declared):
    arms = ["full", {"name": "short", "reward": "short"}]
    written = {"name": "s", "base": base(tmp_path, tiny_text), "metric": declared, "arms": arms, "seeds": 1}
    if declared == "tight":  # the other by default
        written["base"]["evaluation"]["metrics"] = ["tight"]
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(written))
    done = CliRunner().invoke(app, ["sweep", str(tmp_path / "sweep.yaml"), "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    found = load_sweep(tmp_path / "runs" / "s")
    assert found.results.metric == declared
    rows = {(row["arm"], row["metric"]): row["value"] for row in found.table.to_pylist()}
    assert [mean.arm for mean in found.results.means] == ["full", "short"]
    for arm in ("full", "short"):
        evaluated = load_run(tmp_path / "runs" / "s" / f"{arm}-0").evaluation["stages"]["rl"]
        assert rows[arm, declared] == evaluated[declared]
        assert 0 <= evaluated[declared] <= 1
        if declared == "tight":
            assert list(evaluated) == ["tight"]
            assert evaluated["tight"] > 0


def test_a_run_says_what_it_measures_and_keeps_the_best_by_it(tmp_path, tiny_text, capsys):
    config = base(tmp_path, tiny_text)
    config["stages"][0]["keep_best"] = "held_out/tight_greedy"
    run = train(config, runs=tmp_path / "runs")
    names = [
        *("reward_mean", "choice_accuracy", "choice_accuracy_greedy", "label_accuracy", "format_rate"),
        *("completion_length", "tight", "tight_greedy"),
    ]
    said = capsys.readouterr().out
    line = f"measured on test: {', '.join(names)}"
    assert 0 <= said.find(line) < said.find("evaluating rl"), "before it trains"
    assert list(run.evaluation["stages"]["rl"]) == names
    assert [point["step"] for point in run.held_out] == [1, 2]
    assert all(set(names) <= set(point) for point in run.held_out)
    assert list((run.folder / "checkpoints" / "rl").rglob("best"))
    assert {"tight"} <= {line.split("(")[0][4:] for line in copied_code(run.folder) if line.startswith("def ")}


def copied_code(folder):
    """The lines of the user's code that lies in a run's folder."""
    return [line for file in folder.glob("reward*.py") for line in file.read_text().splitlines()]


def test_a_name_is_a_metric_and_a_decoding():
    assert figure("iou_mean_greedy") == Figure(base="iou_mean", decoding="greedy")
    assert figure("label_accuracy").column == "label_correct"
    rows = [{"index": 0, "decoding": "cool", "tight": 0.5}, {"index": 0, "decoding": "sampled", "tight": 0.25}]
    assert per_example(rows, "tight_cool") == {0: 0.5}
    assert per_example(rows, "tight") == {0: 0.25}
    assert per_example(rows, "soft_f1") == {}, "a run that was recorded before has no such column"


def test_a_name_is_refused():
    for name, message in (
        ("choice_acuracy", "did you mean 'choice_accuracy'"),
        ("choice_accuracy_gready", "did you mean 'choice_accuracy_greedy'"),
        ("bleu_4", "is of a whole data set and has no value for one answer, .* `groundrl eval` has"),
        ("label_f1_greedy", "is of a whole data set"),
    ):
        with pytest.raises(ValueError, match=message):
            check_figure(name)
    for name in ("a_greedy", "iou_mean", "mean_iou", "reward", "reward_mean", "task", "a b"):
        with pytest.raises(ValueError, match="cannot be called"):
            check_own_name(name)


def test_a_configuration_is_refused(tmp_path, tiny_text):
    config = base(tmp_path, tiny_text)
    for changes, message in (
        ({"evaluation.metrics": ["cider"]}, "evaluation.metrics: metric 'cider' is of a whole data set"),
        ({"stages.rl.keep_best": "held_out/cider"}, "keep_best: metric 'cider' is of a whole data set"),
        ({"stages.rl.keep_best": "held_out/soft_f1"}, "keep_best: soft_f1 is not measured; add it to evaluation"),
        ({"stages.rl.keep_best": "held_out/iou_mean_cool"}, "leave _cool out"),
        ({"metrics": {"tight": "mine.tight"}}, "metrics.tight: write file.py:name, got 'mine.tight'"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(deepcopy(config), changes)
    for name, message in (("cider", "metric: metric 'cider' is of a whole"), ("tigt", "did you mean 'tight'")):
        with pytest.raises(ConfigError, match=message):
            load_sweep_settings({"name": "s", "base": deepcopy(config), "metric": name}, {})


def test_what_the_data_cannot_be_asked_is_named_before_the_run(tmp_path, tiny_text):
    config = base(tmp_path, tiny_text)
    lacking = r" needs boxes in the reference, which data\.test lacks"
    for changes, message in (
        (
            {"metrics.tight": f"{tmp_path}/mine.py:tigt"},
            r"metrics.tight: .* has no metric 'tigt'; its metrics are tight",
        ),
        ({"metrics.tight": f"{tmp_path}/no.py:tight"}, r"there is no metric file .*no\.py"),
        ({"evaluation.metrics": ["soft_f1"]}, f"metric soft_f1{lacking}"),
        ({"evaluation.metrics": ["iou_best_of_n"]}, f"metric iou_best_of_n{lacking}"),
        ({"stages.rl.keep_best": "held_out/iou_mean"}, f"metric iou_mean{lacking}"),
    ):
        with pytest.raises(ConfigError, match=message):
            train(deepcopy(config), overrides=changes, runs=tmp_path / "runs", progress=False)
    with pytest.raises(ConfigError, match=f"metric iou_mean_greedy{lacking}"):
        sweep({"name": "s", "base": config, "metric": "iou_mean_greedy"}, runs=tmp_path / "runs", progress=False)
    assert not (tmp_path / "runs").exists()


def test_a_label_that_is_none_of_the_choices_is_said_before_training_and_left_out(tmp_path, tiny_text, capsys):
    config = base(tmp_path, tiny_text)
    config["evaluation"] |= {"every": 0}
    broken = QUESTIONS.replace('"label": "A"', '"label": "E"')
    (tmp_path / "broken.jsonl").write_text(broken.splitlines()[0] + "\n" + "".join(QUESTIONS.splitlines(True)[1:]))
    config["data"] |= {"test": str(tmp_path / "broken.jsonl"), "validation": str(tmp_path / "data.jsonl")}
    run = train(config, runs=tmp_path / "runs")
    said = capsys.readouterr().out
    reason = "example 'q0': its label 'E' is none of its choices ('one', 'two'), by letter or by text"
    line = f"choice_accuracy leaves out 1 of 4 test examples; {reason}"
    assert said.count("leaves out") == 1
    assert 0 <= said.find(line) < said.find("evaluating rl"), "before it trains"
    rows = pq.read_table(run.folder / "evaluation" / "rl.parquet").to_pylist()
    assert {row["index"] for row in rows if row["choice_accuracy"] is None} == {0}
    (tmp_path / "broken.jsonl").write_text(broken)
    config["evaluation"]["metrics"] = ["choice_accuracy"]
    message = f"metric choice_accuracy can be asked no example of data.test; {reason}"
    with pytest.raises(ConfigError, match=re.escape(message)):
        train(config, name="b", runs=tmp_path / "runs", progress=False)


def test_the_twelve_that_were_recorded_before_are_the_defaults():
    twelve = [
        *("iou_mean", "iou_mean_greedy", "iou_mean_cool", "iou_best_of_n", "iou_positive", "iou_positive_greedy"),
        *("reward_mean", "label_accuracy", "fact_f1", "fact_f1_greedy", "format_rate", "completion_length"),
    ]
    old, new = (load_config("quickstart", changes)[0] for changes in ({"evaluation.metrics": twelve}, {}))
    assert old == new
    assert [name for name in new.figures if not name.startswith("choice")] == twelve


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("quickstart", {"boxes", "label"}),
        ("report", {"boxes", "report"}),
    ],
)
def test_the_recipes_measure_what_they_always_did(recipe, expected):
    """What evaluation.json of the two held before metrics followed from the data."""
    config, folder = load_config(recipe, {})
    boxes = ["iou_mean", "iou_mean_greedy", "iou_mean_cool", "iou_best_of_n", "iou_positive", "iou_positive_greedy"]
    others = {"label": ["label_accuracy"], "report": ["fact_f1", "fact_f1_greedy"]}[max(expected - {"boxes"})]
    source = load_source(config.data.test, seed=config.seed, base=folder)
    found = metrics_of(config, {}, source)
    assert list(found) == [*boxes, "reward_mean", *others, "format_rate", "completion_length"]


def test_no_column_of_the_registry_is_lost(small_run):
    columns = set(pq.read_table(small_run.folder / "evaluation" / "rl.parquet").column_names)
    assert columns - {*METRICS} == TAKEN, "a user's metric must not be called as a column is"


def test_a_metric_of_ones_own_is_checked():
    @metric(range=(0, 1))
    def two(completion, example):
        """Always two."""
        return 2.0

    @metric
    def whether(completion, example):
        return True

    one = Completion(text=""), Example(id="a", prompt="?")
    assert two.definition == "Always two."
    with pytest.raises(ValueError, match=r"metric 'two' returned 2.0 for example 'a', outside its declared range"):
        two.value(*one)
    with pytest.raises(TypeError, match="metric 'whether' returned True for example 'a'; return a float"):
        whether.value(*one)
    with pytest.raises(ValueError, match="metric 'two_of': a reference has no 'box'; did you mean 'boxes'"):
        metric(reads=("box",))(two_of)
    with pytest.raises(ValueError, match=r"a range is two finite numbers, low and high, got \(1, 0\)"):
        metric(range=(1, 0))(two_of)


def two_of(completion, example):
    return 2.0


def test_a_renamed_metric_is_one_that_is_there():
    assert all(old not in METRICS and new in METRICS for old, new in RENAMED.items())
    assert RENAMED["mean_iou"] == "iou_of_true_boxes"
