"""Curves of several runs: arms by name or configuration, means and intervals by hand, places on the x axis."""

import json
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import yaml
from scipy.stats import t

from groundrl.experiments import Run
from groundrl.experiments.analysis import compare_runs as overlay
from groundrl.experiments.analysis.compare_runs import arms_of, plot_held_out, plot_proxy, plot_runs, runs_at
from groundrl.experiments.cli import main as cli
from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.drawing.curves import save_figure
from groundrl.experiments.drawing.series import smooth


def made(folder, name, seed, rewards, **keys):
    """A run's folder with recorded rewards: two SFT steps, then RL."""
    config = load_config("quickstart", {"name": name, "seed": seed, "stages.sft.steps": 2, **keys})[0]
    path = folder / name
    path.mkdir()
    (path / "config.yaml").write_text(yaml.safe_dump(json.loads(config.model_dump_json())))
    rows = [{"step": k, "stage": "sft", "loss": 1.0 / k, "seconds/step": 3.0} for k in (1, 2)]
    rows += [
        {"step": 3 + k, "stage": "rl", "reward/mean": value, "reward/box/mean": value / 2, "seconds/step": 1.0 + seed}
        for k, value in enumerate(rewards)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Run(path)


@pytest.fixture
def runs(tmp_path):
    return [
        made(tmp_path, "full-0", 0, [0.1, 0.2, 0.6]),
        made(tmp_path, "full-1", 1, [0.3, 0.4, 0.5]),
        made(tmp_path, "G-4", 0, [0.9, 0.9, 0.9], **{"stages.rl.group_size": 4}),
        made(tmp_path, "G-2", 0, [0.8, 0.8, 0.8], **{"stages.rl.group_size": 2}),
        made(tmp_path, "again", 5, [0.5, 0.5, 0.5]),
    ]


def test_arms_are_runs_that_differ_in_their_seed(runs):
    arms = arms_of(runs)
    assert [(arm.name, len(arm.runs)) for arm in arms] == [("full", 3), ("G-4", 1), ("G-2", 1)]
    assert [arm.label for arm in arms] == ["full (3 seeds)", "G-4", "G-2"]


def test_the_mean_and_the_interval_are_over_seeds(runs):
    figure = plot_runs(runs[:2])
    (axes,) = figure.axes
    (line,) = axes.lines
    smoothed = np.array([smooth([0.1, 0.2, 0.6]), smooth([0.3, 0.4, 0.5])])
    assert line.get_xdata().tolist() == [3, 4, 5]
    assert line.get_ydata() == pytest.approx(smoothed.mean(axis=0))
    half = t.ppf(0.975, 1) * smoothed.std(axis=0, ddof=1) / np.sqrt(2)
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx((smoothed.mean(axis=0) + half).max())
    assert "9 steps" in axes.get_ylabel()
    assert "95 % t interval over seeds" in figure.get_suptitle()
    plt.close(figure)


@pytest.mark.parametrize(
    ("x", "places"), [("step", [3, 4, 5]), ("samples", [128, 256, 384]), ("seconds", [7.5, 9.0, 10.5])]
)
def test_places_on_the_x_axis(runs, x, places):
    figure = plot_runs(runs[:2], x=x)  # 6 s of SFT, then steps of 1 s and 2 s
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx(places)
    plt.close(figure)


def test_parts_have_a_panel_each(runs):
    figure = plot_runs(runs, kind="parts")
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == ["total reward", "box"]
    assert len(figure.axes[1].lines) == 3
    plt.close(figure)


def test_held_out_and_proxy_of_a_real_run(small_run):
    figure = plot_held_out([small_run])
    points = small_run.held_out
    assert figure.axes[0].lines[0].get_xdata().tolist() == [point["step"] for point in points]
    assert figure.axes[0].lines[0].get_ydata() == pytest.approx([point["iou_mean_greedy"] for point in points])
    proxy = plot_proxy([small_run])
    rewards = smooth([row["reward/mean"] for row in small_run.metrics if row["stage"] == "rl"])
    assert proxy.axes[0].lines[0].get_xdata() == pytest.approx([rewards[0], rewards[1], rewards[1]])
    plt.close("all")


@pytest.mark.parametrize(("suffix", "magic"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_suffix_says_the_format_and_nothing_depends_on_the_time(runs, tmp_path, suffix, magic):
    for name in ("one", "two"):
        save_figure(plot_runs(runs), tmp_path / f"{name}{suffix}")
    first = (tmp_path / f"one{suffix}").read_bytes()
    assert first.startswith(magic)
    assert first == (tmp_path / f"two{suffix}").read_bytes()
    assert not plt.get_fignums()


def test_what_cannot_be_drawn_is_said(runs, tmp_path):
    with pytest.raises(ConfigError, match="no kind of figure 'rewards'; choose from reward, parts, held-out, proxy"):
        plot_runs(runs, kind="rewards")
    with pytest.raises(ConfigError, match="no x axis 'time'"):
        plot_runs(runs, x="time")
    with pytest.raises(ValueError, match=r"written as \.png, \.svg, \.pdf, not as 'plot\.jpg'"):
        save_figure(plt.figure(), tmp_path / "plot.jpg")
    plt.close("all")


def test_a_folder_of_runs_stands_for_all_in_it(runs, tmp_path, monkeypatch):
    assert [run.folder.name for run in runs_at([tmp_path])] == ["G-2", "G-4", "again", "full-0", "full-1"]
    monkeypatch.setattr(overlay, "RUNS", tmp_path.parent)
    assert len(runs_at([tmp_path.name])) == 5, "a sweep by its name, as a run"


def test_the_command_writes_a_figure(runs, tmp_path, monkeypatch, capsys):
    command = ["groundrl", "plot", str(runs[0].folder), str(runs[1].folder), "--kind", "loss", "--out"]
    monkeypatch.setattr(sys, "argv", [*command, str(tmp_path / "loss.svg")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert "full (2 seeds)" in (tmp_path / "loss.svg").read_text()
