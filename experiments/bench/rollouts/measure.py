"""One case in one process, which prints JSON: `python -m groundrl.experiments.bench.rollouts.measure CASE`.

With `CONTENDER PRECISION` behind it prints the peak of memory of its update, above the level after a small one.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from groundrl.experiments.bench.rollouts.cases import CASES, Case, Precision, ReadyPolicy, build, random_completions
from groundrl.experiments.bench.rollouts.contenders import Completions, Contender, Ours, Padded, Trl
from groundrl.rollout.forward.costs import Costs
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt

CONTENDERS = ("ours", "trl", "trl_compact", "padded")


def matrix_rate(precision: Precision, device: str) -> float:
    """Operations a second of a large matrix product in this precision, the best of five."""
    size = 1024 if device == "cpu" else 8192
    left, right = (torch.randn(size, size, device=device).to(getattr(torch, precision)) for _ in range(2))
    seconds = []
    for _ in range(5):
        start = now(device)
        for _ in range(5):
            left @ right
        seconds.append((now(device) - start) / 5)
    return 2 * size**3 / min(seconds)


def now(device: str) -> float:
    """Seconds on a clock, once all that the device has been asked for is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def contender(name: str, case: Case, policy: Any, examples: Any) -> Contender:
    """By its name; all share the policy's weights."""
    if name.startswith("trl"):
        return Trl(case, policy, examples, compact=name == "trl_compact")
    return {"ours": Ours, "padded": Padded}[name](case, policy, examples)


def measure_times(case: Case, repeats: int | None = None) -> dict[str, Any]:
    """Medians in seconds of `update/WHO/PRECISION`, `generate/WHO/PRECISION` and `optimizer`, all interleaved.

    And what the update needs at least in each precision.
    """
    built = {precision: build(case, precision) for precision in case.precisions}
    runners = {
        (name, precision): contender(name, case, *built[precision]) for name in CONTENDERS for precision in built
    }
    completions = random_completions(case)
    seconds: dict[str, list[float]] = {}

    def clock(name: str, work: Callable[[], Any]) -> None:
        start = now(case.device)
        work()
        seconds.setdefault(name, []).append(now(case.device) - start)

    for precision, (policy, examples) in built.items():
        for name in ("ours", "trl", "padded"):
            _warm_up(name, case, policy, examples)
        _settle(runners["ours", precision], completions)
    policy, examples = built[case.precisions[0]]
    optimizer = torch.optim.AdamW(policy.model.parameters(), lr=1e-9)
    optimizer.step()  # makes its state
    for repeat in range(repeats or case.repeats):
        order = list(runners)
        index = repeat * len(built) % len(order)
        for name, precision in order[index:] + order[:index]:  # none is always first, with a cold memory
            runner, model = runners[name, precision], built[precision][0].model
            model.zero_grad(set_to_none=True)
            clock(f"update/{name}/{precision}", partial(_in_mode, runner, completions))
            if precision == case.precisions[0] and name == "ours":
                clock("optimizer", optimizer.step)
            if case.shortest is None and name != "trl_compact":
                model.eval()
                clock(f"generate/{name}/{precision}", runner.generate)
            model.zero_grad(set_to_none=True)
    prompt = len(policy.encode(examples[0]))
    least = 3 * operations(policy, case, prompt)
    return {
        "seconds": {name: statistics.median(values) for name, values in seconds.items()},
        "bound": case.bound(prompt),
        "prompt": prompt,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if case.device == "cuda" else "cpu",
        "floor": {precision: least / matrix_rate(precision, case.device) for precision in built},
        "forms": _forms(runners["ours", case.precisions[0]]),
    }


def measure_memory(case: Case, name: str, precision: Precision) -> dict[str, Any]:
    """Bytes that the update takes at its peak beyond what the process holds after a small one."""
    policy, examples = build(case, precision)
    _warm_up(name, case, policy, examples)
    runner = contender(name, case, policy, examples)
    if isinstance(runner, Ours):
        runner.planner.settled = True  # the self-check is once a run
    completions = random_completions(case)
    if case.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        level = torch.cuda.memory_allocated()
        _in_mode(runner, completions)
        return {"bytes": torch.cuda.max_memory_allocated() - level}
    Path("/proc/self/clear_refs").write_text("5")
    level = _memory("VmRSS")
    _in_mode(runner, completions)
    return {"bytes": _memory("VmHWM") - level}


def operations(policy: Policy, case: Case, prompt: int) -> float:
    """What one forward over shared prompts cannot do without: tokens, causal pairs, and logits of completions."""
    costs = Costs.of(policy)
    text = policy.model.config.get_text_config()
    pair = (
        4.0
        * text.num_hidden_layers
        * text.num_attention_heads
        * (getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads)
    )
    lengths = case.lengths
    tokens = prompt + sum(length - 1 for length in lengths)
    pairs = prompt**2 / 2 + sum((length - 1) * (prompt + length / 2) for length in lengths)
    head = 2.0 * text.vocab_size * text.hidden_size * sum(lengths)
    total: float = case.groups * (costs.token * tokens + pair * pairs + head)
    return total


def _warm_up(name: str, case: Case, policy: ReadyPolicy, examples: Any) -> None:
    """An update with two short completions of the start of the prompt (an image cannot be cut)."""
    small = replace(case, completion=2, shortest=None, group=2)
    whole = policy.prompts
    if case.shape != "qwen3_vl":
        policy.prompts = {key: _cut(prompt) for key, prompt in whole.items()}
    _in_mode(contender(name, small, policy, examples), random_completions(small))
    policy.prompts = whole


def _settle(runner: Contender, completions: Completions) -> None:
    """The planner's self-check, which is once a run."""
    if isinstance(runner, Ours):
        runner.policy.model.eval()
        prompts = [runner.policy.encode(example) for example in runner.examples]
        runner.planner.settle(prompts, completions, lambda vector: vector[None])


def _forms(runner: Contender) -> list[str]:
    """In which the planner may compute after its self-check."""
    return list(runner.planner.forms) if isinstance(runner, Ours) else []


def _in_mode(runner: Contender, completions: Completions) -> None:
    if isinstance(runner, Ours):
        runner.policy.model.eval()
    runner.update(completions)


def _cut(prompt: Prompt) -> Prompt:
    ids, positions, images = prompt.ids[:16], prompt.position_ids[:, :16], prompt.image_tokens[:16]
    return replace(prompt, ids=ids, position_ids=positions, image_tokens=images)


def _memory(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    chosen = CASES[sys.argv[1]]
    wanted: Any = sys.argv[2:]  # a contender and its precision
    found = measure_memory(chosen, *wanted) if wanted else measure_times(chosen)
    print(json.dumps(found))
