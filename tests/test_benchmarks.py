"""The figures in BENCHMARKS.md, README.md and docs/ are those of the committed results, and no others."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.stats

from evidence import algorithms as evidence_algorithms
from evidence import audit as evidence_audit
from evidence import cuda as evidence_cuda
from evidence import quickstart as evidence_quickstart
from evidence import report as evidence_report
from evidence import resume as evidence_resume
from evidence import stages as evidence_stages
from evidence import statistics as evidence_statistics
from groundrl.experiments.bench import data
from groundrl.experiments.bench.rollouts.report import section
from groundrl.rewards.core.function import load_module

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "evidence" / "results"
BENCHMARKS = (ROOT / "BENCHMARKS.md").read_text()
README = load_module("pages", str(ROOT / "tests" / "pages.py")).TEXT  # and the pages of docs/


def results(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


def report_table() -> str:
    return evidence_report.table({int(seed): content for seed, content in results("report")["seeds"].items()})


@pytest.mark.parametrize(
    "table",
    [
        evidence_quickstart.table(results("quickstart")["seeds"]),
        evidence_quickstart.controls_table(results("quickstart")["seeds"]),
        evidence_audit.table(results("audit")["rewards"]),
        report_table(),
        evidence_algorithms.table(results("algorithms")["algorithms"]),
        evidence_statistics.table(results("statistics")["rows"]),
        evidence_resume.table(results("resume")["algorithms"]),
        data.section(results("data")),
        evidence_cuda.table(results("cuda")),
        evidence_stages.table(results("stages")["points"]),
    ],
    ids=["quickstart", "controls", "audit", "report", "algorithms", "statistics", "resume", "data", "cuda", "stages"],
)
def test_the_tables_are_those_of_the_results(table):
    assert table in BENCHMARKS


def test_the_readme_says_what_the_quickstart_gained():
    found = re.search(
        r"from (\S+) to (\S+) sampled and from\s+(\S+) to (\S+) greedy, every seed by at\s+least (\S+) with a\s+"
        r"lower bound above (\S+)\.\s",
        README,
    )
    claimed = [float(figure) for figure in found.groups()]
    seeds = results("quickstart")["seeds"]
    means = [
        float(np.mean([seed["metrics"][arm][metric] for seed in seeds]))
        for metric in ("iou_mean", "iou_mean_greedy")
        for arm in ("sft", "rl")
    ]
    assert claimed[:4] == [pytest.approx(mean, abs=0.005) for mean in means]
    gains = [seed["difference_from_sft"]["rl"][metric] for seed in seeds for metric in ("iou_mean", "iou_mean_greedy")]
    assert all(gain["mean"] >= claimed[4] and gain["ci95"][0] > claimed[5] for gain in gains)


def test_the_section_on_rollouts_is_that_of_the_results():
    assert section(results("rollouts")) in BENCHMARKS


def test_the_stages_of_medmo_are_those_of_the_run():
    found = results("medmo_tiny")
    for stage, values in found["stages"].items():
        cells = []
        for metric in ("iou_mean", "iou_mean_greedy"):
            low, high = found["ci95"][stage][metric]
            cells.append(f"{values[metric]:.3f} [{low:.3f}, {high:.3f}]")
        assert f"| {stage} | {cells[0]} | {cells[1]} |" in BENCHMARKS
    for metric in ("iou_mean", "iou_mean_greedy"):
        low, high = found["difference"][metric]["ci95"]
        assert f"{found['difference'][metric]['mean']:+.3f} [{low:+.3f}, {high:+.3f}]" in BENCHMARKS


def test_the_readme_shows_what_the_ablation_found_whatever_it_says():
    for line in (RESULTS / "ablation.md").read_text().splitlines():
        if line.startswith(("| ", "- ")):
            assert line in README


def test_the_ablation_is_that_of_its_values():
    """Means, t intervals, d_z and exact sign-flip p, by scipy and by all 256 sign patterns, from the seeds' values."""
    rows = [row for row in pq.read_table(RESULTS / "ablation.parquet").to_pylist() if row["metric"] == "iou_mean"]
    arms = {row["arm"] for row in rows}
    values = {arm: np.array([row["value"] for row in rows if row["arm"] == arm]) for arm in arms}
    signs = np.array(list(itertools.product((-1, 1), repeat=8)))
    for arm, found in values.items():
        line = next(line for line in README.splitlines() if line.startswith(f"| {arm} | "))
        low, high = scipy.stats.t.interval(0.95, 7, found.mean(), scipy.stats.sem(found))
        assert f"| {found.mean():.3f} [{low:.3f}, {high:.3f}] |" in line
        if arm in ("start", "full"):
            continue
        difference = found - values["full"]
        low, high = scipy.stats.t.interval(0.95, 7, difference.mean(), scipy.stats.sem(difference))
        p = np.mean(np.abs(signs @ difference) >= abs(difference.sum()) - 1e-12)
        assert f"| {difference.mean():+.3f} [{low:+.3f}, {high:+.3f}] |" in line
        assert f"| {difference.mean() / difference.std(ddof=1):+.2f} | {p:.3g} | " in line


def test_the_readme_says_what_rl_adds_to_weak_and_strong_checkpoints():
    found = re.search(
        r"(\S+) to (\S+)\s+sampled IoU where SFT has seen rendered cells alone, (\S+) to (\S+) after 60 steps on real "
        r"boxes, at most (\S+) after 400",
        README,
    )
    points = results("stages")["points"]
    gains = {steps: [point["gain"] for point in points if point["real_steps"] == steps] for steps in (0, 60, 150, 400)}
    sampled = {steps: [gain["iou_mean"]["mean"] for gain in own] for steps, own in gains.items()}
    expected = [*(f(sampled[steps]) for steps in (0, 60) for f in (min, max)), max(sampled[400])]
    assert [float(figure) for figure in found.groups()] == [pytest.approx(value, abs=0.0051) for value in expected]
    assert all(gain["iou_mean"]["ci95"][0] > 0 for steps in (0, 60) for gain in gains[steps])
    assert all(gain["iou_mean"]["ci95"][0] < 0 for gain in gains[400])
    assert all(gain["iou_mean_greedy"]["ci95"][0] < 0 for steps in (150, 400) for gain in gains[steps])


def test_the_readme_says_what_the_large_model_takes():
    peak, step, sampling = re.search(r"peaks at\s+(\d+) GB and takes (\d+) s, (\d+) of them sampling", README).groups()
    found = results("cuda")["bfloat16"]["rl"]
    assert [round(found[name]) for name in ("seconds/step", "seconds/sample")] == [int(step), int(sampling)]
    assert round(found["peak_bytes"] / 1e9) == int(peak)


def test_every_algorithm_lifts_the_quickstart():
    for algorithm in results("algorithms")["algorithms"].values():
        for metric, lift in algorithm["lift"].items():
            assert lift["ci95"][0] > 0, metric
            assert len(algorithm["lift_by_seed"][metric]) == 3


def test_the_readme_shows_the_table_of_the_audit():
    assert evidence_audit.table(results("audit")["rewards"]) in README


def test_the_base_is_at_its_plateau_as_it_says():
    found = results("base")
    for rate in ("0.006", "0.0015"):
        gain = found[f"gain at lr {rate}"]
        assert f"{gain['mean']:+.4f} [{gain['ci95'][0]:+.4f}, {gain['ci95'][1]:+.4f}]" in BENCHMARKS
    assert f"{found['iou']:.3f}" in BENCHMARKS


def test_the_readme_says_what_the_reports_gained():
    found = re.search(r"from (\S+) to (\S+) sampled and from (\S+) to (\S+) greedy, every interval above 0", README)
    seeds = list(results("report")["seeds"].values())
    means = [
        float(np.mean([seed["stages"][stage][metric] for seed in seeds]))
        for metric in ("fact_f1", "fact_f1_greedy")
        for stage in ("sft", "rl")
    ]
    assert [float(figure) for figure in found.groups()] == [pytest.approx(mean, abs=0.0051) for mean in means]
    assert all(seed["difference"]["fact_f1"]["ci95"][0] > 0 for seed in seeds)
