"""A run's figures by name: what is known, what is refused, and a metric of a user's own."""

import pytest
import yaml
from typer.testing import CliRunner

from groundrl.experiments import ConfigError, load_config, load_run, load_sweep, metric, train
from groundrl.experiments.cli.main import app
from groundrl.experiments.metrics import METRICS, RENAMED
from groundrl.experiments.metrics.figures import TAKEN, Figure, check_figure, check_own_name, figure
from groundrl.experiments.recording.evaluation import per_example
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
        "evaluation": {
            "samples_per_example": 2,
            "max_new_tokens": 6,
            "every": 1,
            "metrics": ["choice_accuracy", "choice_accuracy_greedy", "tight", "tight_greedy"],
        },
    }


@pytest.mark.parametrize("declared", ["choice_accuracy", "tight"])
def test_a_sweep_declares_any_metric(tmp_path, tiny_text, declared):
    written = {"name": "s", "base": base(tmp_path, tiny_text), "metric": declared, "arms": ["full", "leave_one_out"]}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(written | {"seeds": 1}))
    done = CliRunner().invoke(app, ["sweep", str(tmp_path / "sweep.yaml"), "--runs", str(tmp_path / "runs")])
    assert done.exit_code == 0, done.output
    found = load_sweep(tmp_path / "runs" / "s")
    assert found.results.metric == declared
    rows = {(row["arm"], row["metric"]): row["value"] for row in found.table.to_pylist()}
    assert [mean.arm for mean in found.results.means] == ["full", "without_even", "without_short"]
    for arm in ("full", "without_even", "without_short"):
        evaluated = load_run(tmp_path / "runs" / "s" / f"{arm}-0").evaluation["stages"]["rl"]
        assert rows[arm, declared] == evaluated[declared]
    if declared == "tight":
        assert 0 < rows["full", "tight"] < 1


@pytest.mark.parametrize("best", ["choice_accuracy", "tight_greedy"])
def test_a_checkpoint_is_kept_by_any_metric(tmp_path, tiny_text, best):
    config = base(tmp_path, tiny_text)
    config["stages"][0]["keep_best"] = f"held_out/{best}"
    run = train(config, runs=tmp_path / "runs", progress=False)
    assert [point["step"] for point in run.held_out] == [1, 2]
    assert all(best in point for point in run.held_out)
    assert list((run.folder / "checkpoints" / "rl").rglob("best"))
    assert (run.folder / "reward_1.py").is_file() or (run.folder / "reward.py").is_file()


def test_a_name_is_a_metric_and_a_decoding():
    assert figure("iou_mean_greedy") == Figure(base="iou_mean", decoding="greedy")
    assert figure("label_accuracy").column == "label_correct"
    rows = [{"index": 0, "decoding": "cool", "tight": 0.5}, {"index": 0, "decoding": "sampled", "tight": 0.25}]
    assert per_example(rows, "tight_cool") == {0: 0.5}
    assert per_example(rows, "tight") == {0: 0.25}
    assert per_example(rows, "soft_f1") == {}, "a run that was recorded before has no such column"


def test_what_is_refused(tmp_path, tiny_text):
    for name, message in (
        ("choice_acuracy", "did you mean 'choice_accuracy'"),
        ("bleu_4", "has no value for one answer"),
    ):
        with pytest.raises(ValueError, match=message):
            check_figure(name)
    for name in ("a_greedy", "iou_mean", "reward", "a b"):
        with pytest.raises(ValueError, match="cannot be called"):
            check_own_name(name)
    config = base(tmp_path, tiny_text)
    with pytest.raises(ConfigError, match=r"metrics.tight: .* has no metric 'tigt'; its metrics are tight"):
        train(config | {"metrics": {"tight": f"{tmp_path}/mine.py:tigt"}}, runs=tmp_path / "runs")
    with pytest.raises(ConfigError, match=r"metric soft_f1 needs boxes in the reference, which data\.test lacks"):
        train(config | {"evaluation": {"metrics": ["soft_f1"]}}, runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    cool = [config["stages"][0] | {"keep_best": "held_out/tight_cool"}]
    measured = config["evaluation"] | {"metrics": ["tight_cool"]}
    with pytest.raises(ConfigError, match="leave _cool out"):
        load_config(config | {"stages": cool, "evaluation": measured}, {})


def test_no_column_of_the_registry_is_lost(small_run):
    import pyarrow.parquet as pq

    columns = set(pq.read_table(small_run.folder / "evaluation" / "rl.parquet").column_names)
    assert columns - {*METRICS} == TAKEN, "a user's metric must not be called as a column is"


def test_a_value_outside_the_range_is_refused():
    @metric(range=(0, 1))
    def two(completion, example):
        """Always two."""
        return 2.0

    assert two.definition == "Always two."
    with pytest.raises(ValueError, match=r"metric 'two' returned 2.0 for example 'a', outside its declared range"):
        two.value(Completion(text=""), Example(id="a", prompt="?"))


def test_a_renamed_metric_is_one_that_is_there():
    assert all(old not in METRICS and new in METRICS for old, new in RENAMED.items())
    assert RENAMED["mean_iou"] == "iou_of_true_boxes"
