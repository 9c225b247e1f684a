"""Re-scoring: the same reward gives the stored numbers back, another equals scoring from scratch."""

import json
import sys
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import kendalltau

from groundrl.experiments import train
from groundrl.experiments.analysis import open_log
from groundrl.experiments.cli import main as cli
from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.rescoring.rescore import rescore
from groundrl.experiments.rescoring.rescore_summary import compare, kendall_tau
from groundrl.rewards import Completion, Length, RewardError, Scorer, SoftF1, reward

OWN = "0.6*box + 0.3*label + 0.1*format"


def exactly_as_stored(run, found):
    """Totals, parts and advantages, to the last bit."""
    stored = run.rollouts.to_pylist()
    assert len(stored) == len(found.rows) > 0
    for was, now in zip(stored, found.rows, strict=True):
        assert (now["new"], now["new_advantage"]) == (was["reward"], was["advantage"])
        assert (now["old"], now["old_advantage"]) == (was["reward"], was["advantage"])
        for name in (name for name in now if name.startswith("parts/")):
            assert now[name] == was[name]
    assert found.changed == []
    summary = found.summary
    assert summary["total"]["equal"] == summary["advantages"]["equal"] == summary["completions"] == len(stored)
    assert (
        summary["advantages"]["sign_flips"] == summary["informative"]["gained"] == summary["informative"]["lost"] == 0
    )


def test_the_same_reward_gives_back_every_total_and_advantage(small_run):
    found = small_run.rescore(OWN)
    exactly_as_stored(small_run, found)
    assert found.summary["recorded_parts"] == found.summary["parts"]
    assert set(found.summary["parts"]) == {"box", "label", "format"}


STAGES = {
    "of the batch's tokens, truncated ones masked, scheduled": (
        {"advantage": "reinforce_pp", "mask_truncated": True},
        "SoftF1().scheduled(linear(0.2, 1.0, 3)) + 0.3*Length()",
    ),
    "of each part, with a threshold that learns": ({"advantage": "gdpo"}, "MedLoc(window=2) + 0.5*Format()"),
}


@pytest.mark.parametrize(("stage", "expression"), STAGES.values(), ids=STAGES)
def test_the_runs_own_estimator_and_schedule_are_taken(small, tmp_path, stage, expression):
    keys = {**small, "data.test": None, "audit": "off", "stages.sft.steps": 1, "rewards": {}, "reward": expression}
    keys |= {f"stages.rl.{name}": value for name, value in stage.items()}
    run = train("quickstart", overrides=keys, runs=tmp_path, progress=False)
    exactly_as_stored(run, run.rescore(expression))


@reward(range=(0, 1))
def letters(completion: Completion, example: object) -> float | None:
    """Something that differs within a group, and abstains now and then."""
    return None if completion.text.startswith("7") else (sum(map(ord, completion.text)) % 17) / 16


def test_another_reward_equals_scoring_from_scratch(small_run):
    other = 0.5 * letters - 0.5 * Length()
    found = small_run.rescore(other)
    scorer = Scorer(other)
    for _, group in open_log(small_run.folder).groups():
        scorer.submit(group)
    rows = iter(found.rows)
    for group in scorer.results():
        values = np.array([score.value for score in group.scores])
        expected = (values - values.mean()) / (values.std(ddof=1) + 1e-4) if np.ptp(values) else values * 0
        for score, advantage in zip(group.scores, expected, strict=True):
            row = next(rows)
            assert row["new"] == score.value
            assert row["parts/letters"] == score.parts["letters"].value
            assert row["new_advantage"] == pytest.approx([advantage], abs=1e-5)
    flips = [row["old_advantage"][0] * row["new_advantage"][0] < 0 for row in found.rows]
    assert found.summary["advantages"]["sign_flips"] == sum(flips)
    assert 0 < len(found.changed) <= 20
    change = [abs(row["new_advantage"][0] - row["old_advantage"][0]) for row in found.changed]
    assert change == sorted(change, reverse=True)
    assert set(found.changed[0]["old_parts"]) == {"box", "label", "format"}


def test_rank_correlation_is_kendalls():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, (50, 6)).astype(float), rng.integers(0, 4, (50, 6)).astype(float)
    a[3] = 1.0  # no order to agree with
    a[5, 2] = np.nan
    found = kendall_tau(a, b)
    for row in range(50):
        known = np.isfinite(a[row])
        expected = kendalltau(a[row][known], b[row][known]).statistic
        assert found[row] == pytest.approx(expected, nan_ok=True)


def test_flips_and_groups_by_hand():
    """Two groups of two: in the first the order turns round, the second has differences only afterwards."""
    table = pa.table(
        {
            "step": [1] * 4,
            "group": [0, 0, 1, 1],
            "old": [0.0, 1.0, 0.5, 0.5],
            "new": [1.0, 0.0, 0.5, None],
            "old_advantage": [[-0.7], [0.7], [0.0], [0.0]],
            "new_advantage": [[0.7, 0.5], [-0.7, -0.5], [0.0], None],
        }
    )
    found = compare(table)
    assert found["advantages"] == {"sign_flips": 2, "compared": 3, "equal": 1, "largest_difference": pytest.approx(1.3)}
    assert found["rank_correlation"] == {"mean": -1.0, "groups": 1}
    assert found["informative"] == {"old": 1, "new": 1, "gained": 0, "lost": 0}
    assert found["total"]["equal"] == 1
    assert found["without_score"] == 1


def test_groups_gained_and_lost(small_run):
    found = small_run.rescore("0*SoftF1()").summary["informative"]
    assert (found["new"], found["lost"], found["gained"]) == (0, found["old"], 0)


def test_what_the_estimator_needs_beyond_scores_is_said(small_run):
    from dataclasses import replace

    from groundrl.experiments.rescoring.rescore import rescore

    log = open_log(small_run.folder)
    stage = log.stages["rl"].model_copy(update={"advantage": "gae"})
    found = rescore(replace(log, stages={"rl": stage}), SoftF1())
    assert all(row["new_advantage"] is None and row["new"] is not None for row in found.rows)
    assert found.summary["notes"] == ["no new advantages: gae needs the critic's values, which are not recorded"]


def test_one_completion_a_prompt_is_said_in_a_sentence_and_torch_says_nothing(tmp_path):
    rows = [{"prompt": f"Which? {k}", "completion": "A" * k, "score": 0.5} for k in range(3)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = rescore(open_log(tmp_path / "log.jsonl"), letters)
    assert [row["new_advantage"] for row in found.rows] == [[0.0]] * 3
    said = "new advantages are 0 where each prompt has one completion: grpo has none to compare it with"
    assert found.summary["notes"].count(said) == 1


def test_a_reward_that_fails_shows_the_completion(small_run):
    @reward(range=(0, 1))
    def broken(completion, example):
        return 1 / 0

    with pytest.raises(RewardError, match=r"broken.*failed on example 'nuclei/train/"):
        small_run.rescore(broken)


def test_the_command(small_run, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(
        "from groundrl.rewards import reward\n"
        "@reward(range=(0, 99))\ndef long(c, e): return sum(map(ord, c.text)) % 97\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    command = ["groundrl", "rescore", str(small_run.folder), "--reward", "mine.py:long", "--out", "there"]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    said = " ".join(capsys.readouterr().out.split())
    assert "completions that changed most" in said
    assert "informative groups" in said
    table = pq.read_table("there/rescored.parquet").to_pylist()
    assert [row["new"] for row in table] == [sum(map(ord, row["text"])) % 97 for row in table]
    content = json.loads((tmp_path / "there" / "rescore.json").read_text())
    assert (content["schema"], content["reward"], content["completions"]) == (1, "long", len(table))


def test_an_expression_with_an_unknown_part_is_refused(small_run, tmp_path):
    with pytest.raises(ValueError, match="boxx"):
        small_run.rescore("boxx + format")
    with pytest.raises(ConfigError, match=r"is not a run"):
        open_log(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=r"holds no completions: expected a run's folder, TRL's completions"):
        open_log(tmp_path)
