"""A sweep end to end: what it leaves, that it goes on after kills to the same bytes, that a crash stops no other."""

import json
import os
import shutil
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

import groundrl.algorithms.loop as loop
from groundrl.experiments import load_run, load_sweep
from groundrl.experiments.ablation.plan import Job, Plan
from groundrl.experiments.ablation.progress import Board
from groundrl.experiments.ablation.report import write_results
from groundrl.experiments.ablation.runner import Workers, run_all
from groundrl.experiments.ablation.settings import load_sweep_settings
from groundrl.experiments.ablation.sweep import _alone, _prepare, parse_shard, sweep
from groundrl.experiments.ablation.worker import attempt, read_plan, run_job
from groundrl.experiments.analysis.compare_runs import plot_held_out, plot_proxy, runs_at
from groundrl.experiments.cli.main import app
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.drawing.series import smooth

FILES = ("results.parquet", "ablation.md", "ablation.png")
ARMS = ["start", "full", "without_even", "without_short", "random_reward"]


def prepared(source, runs, overrides=None) -> Plan:
    settings, paths = load_sweep_settings(source, overrides or {})
    plan = Plan(settings, paths, runs / settings.name)
    _prepare(plan, overwrite=False)
    return plan


def make_all(plan, **watch):
    """Make every run in this process, one after the other; without their curves, which cost more than the steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("groundrl.experiments.runs.pipeline.draw_run", lambda folder: None)
        return run_all(plan, plan.jobs(), partial(attempt, plan, threads=1), processes=1, **watch)


@pytest.fixture(scope="module")
def undisturbed(tiny_sweep, tmp_path_factory) -> Plan:
    plan = prepared(tiny_sweep / "sweep.yaml", tmp_path_factory.mktemp("undisturbed"))
    failed = make_all(plan)
    assert failed == {}
    write_results(plan, failed)
    return plan


def test_a_run_for_each_arm_and_seed_and_a_row_for_each_metric(undisturbed):
    found = load_sweep(undisturbed.folder)
    folders = {path.name for path in undisturbed.folder.iterdir() if path.is_dir()}
    assert folders == {f"{arm}-{seed}" for arm in ARMS for seed in (0, 1)}
    rows = found.table.to_pylist()
    metrics = ("completion_length", "reward_mean")
    assert [(row["arm"], row["seed"], row["metric"]) for row in rows if row["seed"] == 1] == [
        (arm, 1, metric) for arm in ARMS for metric in metrics
    ]
    evaluation = load_run(undisturbed.folder / "full-1").evaluation["stages"]["rl"]
    assert [row["value"] for row in rows if (row["arm"], row["seed"]) == ("full", 1)] == [
        evaluation[m] for m in metrics
    ]
    values = {(row["arm"], row["seed"]): row["value"] for row in rows if row["metric"] == "completion_length"}
    compared = {each.arm: each for each in found.comparisons}
    assert list(compared) == ARMS[2:]
    expected = [values["random_reward", seed] - values["full", seed] for seed in (0, 1)]
    assert compared["random_reward"].differences == pytest.approx(expected)
    report = found._repr_markdown_()
    assert all(text in report for text in (*found.results.sentences, "With fewer than 6 seeds no two-sided"))
    assert read_plan(undisturbed.folder).settings == undisturbed.settings


def test_arms_of_a_seed_share_start_and_prompts_and_differ_in_the_reward(undisturbed):
    runs = {arm: load_run(undisturbed.folder / f"{arm}-0") for arm in ARMS[1:]}
    assert len({run.config.model.path for run in runs.values()}) == 1
    prompts = {arm: [row["example_id"] for row in run.rollouts.to_pylist()] for arm, run in runs.items()}
    assert all(prompts[arm] == prompts["full"] for arm in runs)
    first = {arm: [row["text"] for row in run.rollouts.to_pylist() if row["step"] == 1] for arm, run in runs.items()}
    assert all(first[arm] == first["full"] for arm in runs), "the first step's answers come from the same policy"
    assert len({run.metrics[0]["reward/mean"] for run in runs.values()}) == len(runs)
    other = load_run(undisturbed.folder / "full-1")
    assert other.rollouts.to_pylist()[0]["seed_key"].startswith("1/")


def test_killed_twice_and_resumed_it_leaves_the_same_bytes(undisturbed, tiny_sweep, tmp_path, monkeypatch):
    plan = prepared(tiny_sweep / "sweep.yaml", tmp_path)
    saved = loop.save_step

    def killed_at(step):
        def save(policy, state, folder, at, **keep):
            saved(policy, state, folder, at, **keep)
            if at == step:
                raise KeyboardInterrupt

        return save

    monkeypatch.setattr("groundrl.experiments.runs.pipeline.draw_run", lambda folder: None)
    run_job(plan, Job(arm="start", seed=0), threads=1)
    for step, arm in ((2, "full"), (1, "without_even")):
        monkeypatch.setattr(loop, "save_step", killed_at(step))
        with pytest.raises(KeyboardInterrupt):
            run_job(plan, Job(arm=arm, seed=0), threads=1)
    monkeypatch.undo()
    assert not plan.done(Job(arm="full", seed=0))
    half = plan.run(Job(arm="random_reward", seed=0))  # killed while its folder was made
    half.mkdir()
    (half / "config.yaml").write_text("name: ran")
    again = prepared(tiny_sweep / "sweep.yaml", tmp_path)
    write_results(again, make_all(again))
    assert len(load_run(plan.run(Job(arm="full", seed=0))).metrics) == 3
    for name in FILES:
        assert (again.folder / name).read_bytes() == (undisturbed.folder / name).read_bytes(), name


def test_a_finished_sweep_starts_no_process(undisturbed, tiny_sweep, monkeypatch):
    monkeypatch.setattr("subprocess.Popen", None)
    before = {name: (undisturbed.folder / name).read_bytes() for name in FILES}
    found = sweep(tiny_sweep / "sweep.yaml", runs=undisturbed.folder.parent, progress=False)
    assert {name: (found.folder / name).read_bytes() for name in FILES} == before


def test_crashes_stop_nothing_else_and_are_listed(tiny_sweep, tmp_path):
    """One arm raises, one ends its process; in real worker processes, from the command line."""
    done = CliRunner().invoke(app, ["sweep", str(tiny_sweep / "only_rl.yaml"), "--runs", str(tmp_path)])
    assert done.exit_code == 1, done.output
    found = load_sweep(tmp_path / "only_rl")
    assert {row["arm"] for row in found.table.to_pylist()} == {"full"}
    assert list(found.failed) == ["dies-0", "raises-0"]
    assert "the process ended with exit code 7" in found.failed["dies-0"]
    assert "ZeroDivisionError: on purpose" in found.failed["raises-0"]
    assert "Traceback" in found.failed["raises-0"]
    for run in ("dies-0", "raises-0"):
        assert f"failed: {run}; its traceback is in" in done.output
        assert f"- `{run}` failed: " in found._repr_markdown_()
    assert "runs, about" in done.output
    assert "full-0: done" in done.output
    assert json.loads((found.folder / "pilot.json").read_text())["constant_parts"] == []


def test_what_waits_for_a_failed_start_is_left_out(undisturbed, tmp_path):
    plan = Plan(undisturbed.settings, undisturbed.paths, tmp_path)
    made = []

    def make(job):
        made.append(str(job))
        return "broken" if str(job) == "start-0" else None

    failed = run_all(plan, plan.jobs(), make, processes=2)
    assert sorted(made) == sorted(["start-0", *(f"{arm}-1" for arm in ARMS)])
    assert failed[Job(arm="start", seed=0)] == "broken"
    assert failed[Job(arm="full", seed=0)] == "start-0 failed"


def test_more_sft_takes_the_time_of_rl_and_keeps_what_was_chosen(undisturbed, tmp_path):
    settings = undisturbed.settings.model_copy(update={"controls": ("more_sft",)})
    plan = Plan(settings, undisturbed.paths, tmp_path)
    job = Job(arm="more_sft", seed=1)
    for name, stage, seconds in (("full-1", "rl", [4.0, 5.0, 6.0]), ("start-1", "sft", [9.0, 2.5, 2.5])):
        (tmp_path / name).mkdir()
        rows = [{"stage": stage, "seconds/step": value} for value in seconds]
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = plan.config(job)
    assert [(stage.name, stage.kind, stage.steps) for stage in config.stages] == [("more_sft", "sft", 6)]
    assert config.seed == 1_000_001
    assert config.model.path == str(tmp_path / "start-1" / "checkpoints" / "sft")
    plan.run(job).mkdir()
    begun = config.model_dump(mode="json")
    begun["stages"][0]["steps"] = 9
    (plan.run(job) / "config.yaml").write_text(yaml.safe_dump(begun))
    (plan.run(job) / "environment.json").write_text("{}")
    assert plan.config(job).stages[0].steps == 9
    plan.check_found()


def test_runs_and_metric_of_another_sweep_are_refused(undisturbed, tiny_sweep):
    runs = undisturbed.folder.parent
    more = prepared(tiny_sweep / "sweep.yaml", runs, {"seeds": 3})
    assert [job for job in more.jobs() if not more.done(job)] == [Job(arm=arm, seed=2) for arm in ARMS]
    prepared(tiny_sweep / "sweep.yaml", runs)
    with pytest.raises(ConfigError, match=r"was made with another stages; give the sweep another name .*--overwrite"):
        prepared(tiny_sweep / "sweep.yaml", runs, {"stages.rl.steps": 4})
    with pytest.raises(ConfigError, match="was declared as completion_length before its runs"):
        prepared(tiny_sweep / "sweep.yaml", runs, {"metric": "iou_mean", "evaluation.metrics": ["iou_mean"]})
    with pytest.raises(ConfigError, match="is not a sweep's folder"):
        prepared(tiny_sweep / "sweep.yaml", undisturbed.folder, {"name": "full-0"})


def test_two_processes_do_not_make_the_same_runs(tmp_path):
    again = pytest.raises(ConfigError, match="another process is at work")
    with _alone(tmp_path, (1, 2)), _alone(tmp_path, (2, 2)), again, _alone(tmp_path, (1, 2)):
        pass
    with pytest.raises(ConfigError, match="a shard is i/n such as 1/4, got '1-4'"):
        parse_shard("1-4")


def test_the_live_table_and_the_lines_of_a_log(undisturbed, tmp_path):
    plan = Plan(undisturbed.settings, undisturbed.paths, tmp_path)
    shutil.copytree(undisturbed.run(Job(arm="full", seed=0)), tmp_path / "full-0")
    states = dict.fromkeys(plan.jobs(), "waiting")
    console = Console(file=(tmp_path / "out").open("w"), width=60)
    with Board(plan, show=True, console=console) as board:
        board.watch(states)
        states |= {Job(arm="full", seed=0): "running", Job(arm="start", seed=0): "done"}
        board.watch(states)
        console.print(board.table(states))
    console.file.close()
    text = (tmp_path / "out").read_text()
    assert "start-0: done" in text
    assert "full-0: running" not in text
    assert "step 3" in text
    assert "seed 1" in text


def test_the_figure_is_legible_at_390_pixels(undisturbed):
    """Letters are at least 9 pixels high when a telephone shows it: 20 points on 12 inches, 110 dots an inch."""
    image = Image.open(undisturbed.folder / "ablation.png")
    assert image.width == 1320
    assert 20 / 72 * 110 * 390 / image.width >= 9
    figure = load_sweep(undisturbed.folder).figure()
    texts = [label for axes in figure.axes for label in (*axes.get_yticklabels(), *axes.get_xticklabels(), axes.title)]
    assert min(text.get_fontsize() for text in texts) >= 20
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == ARMS[2:]
    assert np.asarray(image.convert("L")).std() > 5
    assert os.path.getsize(undisturbed.folder / "ablation.png") < 300_000


def test_curves_of_an_arm_begin_at_the_common_checkpoint(undisturbed):
    runs = runs_at([undisturbed.folder])
    starts = [load_run(undisturbed.folder / f"start-{seed}") for seed in (0, 1)]
    level = np.mean([run.held_out[-1]["completion_length"] for run in starts])
    lines = {line.get_label(): line for line in plot_held_out(runs, metric="completion_length").axes[0].lines}
    for label, line in lines.items():
        if not label.startswith("start"):
            assert (line.get_xdata()[0], line.get_ydata()[0]) == (0, pytest.approx(level)), label
    proxy = {line.get_label(): line for line in plot_proxy(runs, metric="completion_length").axes[0].lines}
    full = [run for run in runs if run.folder.name.startswith("full-")]
    first = np.mean([smooth([row["reward/mean"] for row in run.metrics])[0] for run in full])
    assert proxy["full (2 seeds)"].get_xdata()[0] == pytest.approx(first)
    assert proxy["full (2 seeds)"].get_ydata()[0] == pytest.approx(level)
    plt.close("all")


@pytest.mark.parametrize(
    ("asked", "available", "processes", "expected"), [(None, 8, 3, 2), (None, 2, 4, 1), (3, 8, 2, 3)]
)
def test_workers_have_the_threads_of_the_base_else_their_share(
    tiny_sweep, tmp_path, monkeypatch, asked, available, processes, expected
):
    plan = prepared(tiny_sweep / "sweep.yaml", tmp_path, {"hardware.threads": asked})
    monkeypatch.setattr("torch.get_num_threads", lambda: available)
    assert Workers(plan, processes).threads == expected
