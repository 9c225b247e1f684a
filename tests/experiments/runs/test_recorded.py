"""Runs recorded by an older version still open, and go on.

`recorded/` is one run of SFT, then GRPO, of the version before the folders, metrics and settings were renamed. `killed`
ended by SIGKILL in its third RL step, with the checkpoint of the second; `finished` has what the same run, never
stopped, wrote beyond that. Only `base`, `command` and `platform` of environment.json were made neutral; figures and the
tensorboard were left out.
"""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from groundrl.experiments import load_run, resume
from groundrl.experiments.cli.main import app
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.runs.reader import Run

RECORDED = Path(__file__).parent / "recorded"


def copied(folder: Path) -> Path:
    """The killed run with its data in a folder of ours. The model it began with is loaded, then given SFT's weights."""
    shutil.copytree(RECORDED, folder, dirs_exist_ok=True)
    shutil.copytree(RECORDED / "killed" / "checkpoints" / "sft", folder / "model")
    path = folder / "killed" / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base": str(folder)}))
    return folder / "killed"


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """The run as the older version finished it, without its last checkpoint."""
    folder = tmp_path_factory.mktemp("recorded")
    run = copied(folder)
    shutil.copytree(folder / "finished", run, dirs_exist_ok=True)
    return run


@pytest.fixture(scope="module")
def resumed(tmp_path_factory) -> Run:
    """The killed run, gone on with to its end."""
    return resume(copied(tmp_path_factory.mktemp("resumed")), allow_changed=True, progress=False)


def rl_steps(run: Run) -> list[dict]:
    return [row for row in run.metrics if row["stage"] == "rl"]


def test_it_opens_in_python(finished):
    run = load_run(finished)
    assert run.rollouts.num_rows == 5 * 2 * 4
    assert set(run.evaluation["stages"]) == {"sft", "rl"}
    assert run.curves().axes[0].lines  # something is drawn
    shown = run.show(step=155, group=1)
    assert not isinstance(shown, str)
    assert shown.axes  # a figure with the picture


def test_it_is_viewed_and_plotted(finished, tmp_path):
    result = CliRunner().invoke(app, ["view", str(finished), "--out", str(tmp_path / "page.html")])
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text()
    last = load_run(finished).rollouts.to_pylist()[-1]
    assert last["example_id"] in page
    for kind in ("reward", "held-out"):
        out = tmp_path / f"{kind}.png"
        result = CliRunner().invoke(app, ["plot", str(finished), "--kind", kind, "--out", str(out)])
        assert result.exit_code == 0, result.output
        assert out.stat().st_size > 0


def test_its_own_reward_gives_the_recorded_totals(finished):
    """The user's file, a set reward on boxes and a format, on what was sampled then."""
    run = load_run(finished)
    rows = run.rescore(run.config.reward).rows
    assert [row["new"] for row in rows] == pytest.approx([row["old"] for row in rows], abs=1e-12)
    assert {row["old"] for row in rows} == set(run.rollouts["reward"].to_pylist())
    assert len({row["old"] for row in rows}) > 10


def test_it_goes_on_as_if_it_had_never_stopped(resumed, finished):
    """The same draws and weights; another order of sums may differ in the last bits."""
    steps, reference = rl_steps(resumed), rl_steps(load_run(finished))
    assert [row["step"] for row in steps] == [row["step"] for row in reference] == [151, 152, 153, 154, 155]
    for name in ("reward/mean", "reward/digits/mean", "reward/box/mean", "reward/format/mean", "loss", "grad_norm"):
        expected = [row[name] for row in reference]
        assert [row[name] for row in steps] == pytest.approx(expected, rel=1e-3, abs=1e-6), name
    assert resumed.rollouts["text"].to_pylist() == load_run(finished).rollouts["text"].to_pylist()


def test_its_evaluation_is_the_recorded_one(resumed, finished):
    recorded = json.loads((finished / "evaluation.json").read_text())["stages"]
    for stage, values in resumed.evaluation["stages"].items():
        shared = values.keys() & recorded[stage].keys()
        assert {"iou_mean", "iou_mean_greedy", "reward_mean", "format_rate"} <= shared
        for name in shared:
            assert values[name] == pytest.approx(recorded[stage][name], nan_ok=True), name


def test_a_run_of_a_newer_version_is_refused_in_one_sentence(tmp_path):
    run = copied(tmp_path)
    path = run / "environment.json"
    content = json.loads(path.read_text())
    content |= {"schema": 2, "packages": content["packages"] | {"groundrl": "7.8.9"}}
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"killed was written by groundrl 7\.8\.9 in schema 2, .* up to 1: install"):
        load_run(run)
