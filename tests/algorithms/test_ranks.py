"""Two processes (gloo, on this machine) learn what one learns."""

import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("ranks.py")
SCENARIOS = ["dapo", "grpo", "flat", "family", "dynamic"]


@pytest.fixture(scope="module")
def outcomes(tiny_vl, tmp_path_factory):
    """`(alone, [rank 0, rank 1])`: what each process learned and recorded, and the folders they wrote."""
    alone, together = tmp_path_factory.mktemp("alone"), tmp_path_factory.mktemp("together")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT), str(tiny_vl), str(together), "2"],
            env={**os.environ, "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    one = runpy.run_path(str(SCRIPT))["train_all"](tiny_vl, alone, 1)
    try:
        for process in processes:
            output, _ = process.communicate(timeout=240)
            assert process.returncode == 0, output
    finally:
        for process in processes:
            process.kill()  # a stall is a failure, not a hanging test run
    return one, [torch.load(together / f"rank-{rank}.pt", weights_only=True) for rank in range(2)], together


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_gradients_and_weights_are_those_of_one_process(outcomes, scenario):
    one, ranks, _ = outcomes
    for rank in ranks:
        for ours, expected in zip(rank[scenario]["gradients"], one[scenario]["gradients"], strict=True):
            assert max(float(gradient.abs().max()) for gradient in expected.values()) > 1e-3
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(rank[scenario]["weights"], one[scenario]["weights"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rank_0_alone_records_all_groups_in_prompt_order(outcomes, scenario):
    one, (first, second), folder = outcomes
    assert second[scenario]["steps"] == []
    assert len(first[scenario]["steps"]) == len(one[scenario]["steps"]) > 0
    for ours, expected in zip(first[scenario]["steps"], one[scenario]["steps"], strict=True):
        assert expected["index"] == [0, 1, 2, 3]
        for name in ("ids", "index", "keys", "tokens"):
            assert ours[name] == expected[name]
        assert ours["advantages"] == [pytest.approx(values, rel=1e-6) for values in expected["advantages"]]
        assert ours["metrics"] == pytest.approx(expected["metrics"], rel=1e-4, abs=1e-5)
    assert len(list((folder / scenario).glob("step-*"))) == 1


def test_a_rank_without_variance_does_not_stall_the_other(outcomes):
    """That it came to an end is half of the test; the other half: only the first rank's groups had an advantage."""
    _, (first, _), _ = outcomes
    (step,) = first["flat"]["steps"]
    informative = [any(advantage != [0.0] for advantage in step["advantages"][3 * k : 3 * k + 3]) for k in range(4)]
    assert informative == [True, False, True, False]


def test_both_ranks_replace_the_same_groups(outcomes):
    """The second rank's two groups of step 1 are flat; three fresh prompts, whichever of them are flat again."""
    _, (first, _), _ = outcomes
    extra = [step["metrics"]["rollout/extra_prompts"] for step in first["dynamic"]["steps"]]
    assert extra[0] >= 2
    keys = [int(key.rpartition("/")[2]) for key in first["dynamic"]["steps"][0]["keys"]]
    assert (keys[0], keys[2]) == (0, 2)
    assert min(keys[1], keys[3]) >= 4


def test_sft_learns_what_one_process_learns(outcomes):
    one, ranks, _ = outcomes
    for rank in ranks:
        assert rank["sft"]["losses"] == pytest.approx(one["sft"]["losses"], abs=1e-5)
        torch.testing.assert_close(rank["sft"]["weights"], one["sft"]["weights"], rtol=0, atol=1e-6)
