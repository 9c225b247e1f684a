"""The command line as a user meets it: in its own process, with its messages and exit codes."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
import torch

from groundrl.experiments import load_run, resume
from groundrl.experiments.cli.main import Recoverable

CLI = [sys.executable, "-m", "groundrl.experiments.cli"]
LONG = ["stages.sft.steps=1", "stages.sft.batch_size=4", "data.test=null", "stages.rl.steps=500"]
LONG += ["stages.rl.prompts_per_step=2", "stages.rl.group_size=2", "stages.rl.max_new_tokens=8"]


def run(*arguments, cwd=None):
    return subprocess.run([*CLI, *arguments], capture_output=True, text=True, cwd=cwd)


def test_help_lists_the_commands():
    done = run("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in ("train", "resume", "eval", "bench"))


def test_the_version_is_the_installed_one():
    done = run("--version")
    assert (done.returncode, done.stdout.strip()) == (0, version("groundrl"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nothing"], "there is no file and no recipe 'nothing'"),
        (["train", "quickstart", "stages.rl.grop_size=3"], "did you mean 'group_size'?"),
        (["train", "quickstart", "model.path=."], "is not a checkpoint: it has no config.json"),
        (["train", "quickstart", "reward=mine.py:tight"], "there is no reward file"),
        (["train", "quickstart", "data.train=nuclei/trian"], "did you mean 'nuclei/train'?"),
        (["resume", "runs/none"], "is not a run"),
    ],
)
def test_a_users_fault_is_one_sentence_and_exit_2(arguments, message, tmp_path):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reward_that_returns_text_stops_with_the_completion_shown(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from groundrl.rewards import reward\n@reward(range=(0, 1))\ndef text(c, e): return 'good'\n"
    )
    done = run("train", "quickstart", "reward=mine.py:text", *LONG, cwd=tmp_path)
    assert done.returncode == 2
    assert "reward 'text' failed on example 'nuclei/train/" in done.stderr
    assert "completion" in done.stderr
    assert "Traceback" not in done.stderr


def start(tmp_path):
    return subprocess.Popen(
        [*CLI, "train", "quickstart", "stages.rl.checkpoint_every=2", *LONG],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in a shell's background ignores it
    )


def wait_for(condition, process):
    deadline = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def press_ctrl_c(process):
    """Python drops an interrupt that lands in a destructor or a callback from C: then a person presses again."""
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        try:
            return process.communicate(timeout=30)[1]
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    raise AssertionError(f"it did not stop: {process.communicate()[1]}")


def test_ctrl_c_keeps_what_was_recorded_and_says_how_to_go_on(tmp_path):
    process = start(tmp_path)
    folder = tmp_path / "runs" / "quickstart"
    wait_for(lambda: len(list((folder / "rollouts").glob("step-*.parquet"))) >= 3, process)
    message = press_ctrl_c(process)
    assert process.returncode == 130
    assert "go on with: groundrl resume runs/quickstart" in message
    recorded = load_run(folder)
    steps = len(recorded.metrics)
    assert steps >= 3
    assert recorded.rollouts.num_rows >= (steps - 1) * 4
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("steps: 500", f"steps: {steps + 2}"))
    assert len(resume(folder, progress=False, allow_changed=True).metrics) == steps + 3


def test_a_full_disk_keeps_what_was_recorded_and_says_how_to_go_on(tmp_path):
    """No file may grow beyond 40 kB: the metrics file hits the limit like a full disk, after some steps."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    stage = (
        "{name: rl, kind: rl, steps: 500, prompts_per_step: 2, group_size: 2, max_new_tokens: 8, checkpoint_every: 0}"
    )
    process = subprocess.Popen(
        [*CLI, "train", "quickstart", f"stages=[{stage}]", "data.test=null"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    _, message = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "stopped by the system" in message
    assert "groundrl resume runs/quickstart" in message
    folder = tmp_path / "runs" / "quickstart"
    for line in (folder / "metrics.jsonl").read_text().splitlines()[:-1]:
        json.loads(line)
    assert len(load_run(folder).metrics) >= 5
    assert load_run(folder).rollouts.num_rows >= 5 * 4


def test_a_full_device_is_one_sentence_that_says_what_to_lower(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("name: a\n")
    with pytest.raises(SystemExit) as left, Recoverable(tmp_path):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 892.00 MiB. GPU 0 has a total capacity of")
    assert left.value.code == 1
    message = capsys.readouterr().err
    assert f"CUDA out of memory: in {tmp_path / 'config.yaml'} lower the stage's micro_batch_tokens (rl)" in message
    assert f"go on with: groundrl resume {tmp_path} --allow-changed" in message


def test_weights_that_do_not_fit_are_the_systems_fault_too(tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    few = ["stages.sft.steps=1", "stages.sft.batch_size=2", "stages.sft.checkpoint_every=0", "data.test=null"]
    done = subprocess.run(
        [*CLI, "train", "quickstart", *few], cwd=tmp_path, preexec_fn=limit, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "groundrl resume runs/quickstart" in done.stderr
    assert not (tmp_path / "runs" / "quickstart" / "checkpoints" / "sft" / "config.json").exists()
