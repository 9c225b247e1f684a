"""A judge in a run: from the configuration through `groundrl train`, judged by a real server on loopback."""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from groundrl.experiments.cli.main import main
from groundrl.rewards import GroundRLWarning
from groundrl.rewards.core.function import load_module

web = load_module("judge_server", str(Path(__file__).parents[2] / "judge_server.py"))
RL = {"name": "rl", "kind": "rl", "steps": 2, "prompts_per_step": 4, "group_size": 2, "max_new_tokens": 8, "lr": 1e-3}


@pytest.fixture
def server():
    with web.judge_server() as judge:
        yield judge


@pytest.fixture
def groundrl_train(server, tiny_text, tmp_path, monkeypatch):
    """`groundrl train judged.yaml --overwrite ...` with the README's reward, in a folder and a home of its own."""
    lines = [{"id": f"t{k}", "prompt": f"How many nuclei? {k}", "answer": "two"} for k in range(8)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = {
        "name": "judged",
        "model": {"path": str(tiny_text)},
        "data": {"train": "train.jsonl"},
        "rewards": {"judge": f"Judge(base_url='{server.url}', model='tiny-judge', retries=0)", "format": "Format()"},
        "reward": "0.7*judge + 0.3*format",
        "stages": [RL],
    }
    (tmp_path / "judged.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*overrides):
        monkeypatch.setattr(sys, "argv", ["groundrl", "train", "judged.yaml", "--overwrite", *overrides])
        with pytest.raises(SystemExit) as done:
            main()
        return done.value.code

    return run


def odd_or_even(handler, body):
    """A judge whose word depends on the answer alone."""
    word = "correct" if len(web.shown_answer(body)) % 2 else "incorrect"
    web.says(f"Counted.\nVerdict: {word}")(handler, body)


def test_a_run_learns_from_a_judge_and_a_second_one_asks_nothing(server, groundrl_train, tmp_path):
    server.act = odd_or_even
    assert groundrl_train() == 0
    folder = tmp_path / "runs" / "judged"
    rows = [row for file in sorted(folder.glob("rollouts/*.parquet")) for row in pq.read_table(file).to_pylist()]
    assert len(rows) == 16
    for row in rows:
        said, judged = json.loads(row["parts/judge/detail"]), row["parts/judge"]
        assert row["reward"] == pytest.approx(0.7 * judged + 0.3 * row["parts/format"])
        reply = {"reply": f"Counted.\nVerdict: {'correct' if judged else 'incorrect'}"}
        unread = {"reason": "answer: truncated"}, 0.0  # the random model opens <think> and never closes it
        assert said == reply or (said, judged) == unread
    assert {row["parts/judge"] for row in rows} == {0.0, 1.0}
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    asked = len(server.asked)
    assert metrics[-1]["usage/judge/requests"] == asked > 0
    assert metrics[-1]["reward/judge/mean"] == pytest.approx(sum(row["parts/judge"] for row in rows[8:]) / 8)
    assert groundrl_train() == 0
    assert len(server.asked) == asked  # the same rollouts, judged from the cache
    repeated = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["reward/mean"] for row in repeated] == [row["reward/mean"] for row in metrics]


def test_a_run_whose_judge_is_down_stops_and_says_so(server, groundrl_train, capsys):
    server.act = web.fails(503, "loading the model")
    with pytest.warns(GroundRLWarning, match="masked, not scored"):
        assert groundrl_train("stages.rl.steps=50") == 2
    said = capsys.readouterr().err
    assert "every completion of the last 8 groups had an error" in said
    assert "judge: HTTP 503: loading the model" in said
