"""`groundrl bench rollouts`: runs the cases in fresh processes, keeps what they measured, and writes it up."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from groundrl.experiments.bench.section import write_section
from groundrl.rollout.io.records import write_text

PICTURE = "docs/pictures/rollouts.png"
RESULTS = Path("evidence/results/rollouts.json")
START, END = "<!-- groundrl bench rollouts -->", "<!-- end of groundrl bench rollouts -->"
PARTS = ("generate", "update", "step", "peak_memory")


def bench_rollouts(case: str | None = None, folder: Path = Path()) -> dict[str, float]:
    """Measure one case (or `plots`), or all, and write JSON and the section of BENCHMARKS.md under `folder`.

    What other cases measured before stays. Returns TRL's figures over ours.
    """
    from groundrl.experiments.bench.rollouts.cases import CASES, all_cases

    path = folder / RESULTS
    content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"cases": {}}
    for name in all_cases() if case is None else [case]:
        if name == "plots":
            from groundrl.experiments.bench.rollouts.plots import draw, measure_curves

            content["curves"] = measure_curves()
            draw(content["curves"], folder / PICTURE)
        elif name in CASES and CASES[name].device == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"the case {name!r} needs a CUDA device, and there is none here")
        elif name in CASES:
            content["cases"][name] = _case(name)
        else:
            raise ValueError(f"there is no case {name!r}; choose from {', '.join(CASES)} and plots")
        write_text(json.dumps(content, indent=2) + "\n", path)
        write_section(section(content), folder / "BENCHMARKS.md", start=START, end=END)
    return {
        f"{name}, {part}: TRL's over ours": values[part]["ratio"]
        for name, values in content["cases"].items()
        for part in PARTS
        if part in values and case in (None, name)
    }


def _case(name: str) -> dict[str, Any]:
    times = _process(name)
    memory = {who: _process(name, who, best(times, who))["bytes"] for who in ("ours", "trl", "padded")}
    return combine(times, memory)


def parts_of(times: Mapping[str, Any], who: str, precision: str) -> dict[str, float]:
    """Seconds of `update`, and where it was measured of `generate` and the whole `step`, in one precision."""
    seconds = times["seconds"]
    own = {"update": seconds[f"update/{who}/{precision}"]}
    generated = seconds.get(f"generate/{'trl' if who == 'trl_compact' else who}/{precision}")
    if generated is not None:
        own |= {"generate": generated, "step": generated + own["update"] + seconds["optimizer"]}
    return own


def best(times: Mapping[str, Any], who: str) -> str:
    """The precision in which a contender's step, or where there is none its update, took the least time."""

    def cost(precision: str) -> float:
        own = parts_of(times, who, precision)
        return own.get("step", own["update"])

    precisions: list[str] = list(times["floor"])
    return min(precisions, key=cost)


def combine(times: Mapping[str, Any], memory: Mapping[str, float]) -> dict[str, Any]:
    """The case's entry in the JSON: for each part the three figures, and how many times ours is TRL's.

    Each contender in its best precision. `ratio_without_prompt_head`: with TRL's head on completions alone, as on
    CUDA; its memory is the same, for its head works in tiles. The bound of memory is that of tokens, which activations
    follow.
    """
    chosen = {who: best(times, who) for who in ("ours", "trl", "trl_compact", "padded")}
    parts = {
        who: {**parts_of(times, who, chosen[who]), "peak_memory": memory["trl" if who == "trl_compact" else who]}
        for who in chosen
    }
    return {
        part: {
            **{who: parts[who][part] for who in ("ours", "trl", "padded")},
            "ratio": parts["trl"][part] / parts["ours"][part],
            "ratio_without_prompt_head": parts["trl_compact"][part] / parts["ours"][part],
            "bound": times["bound"],
        }
        for part in PARTS
        if part in parts["ours"]
    } | {
        "update_over_floor": parts["ours"]["update"] / times["floor"][chosen["ours"]],
        "precision": chosen,
        **{name: times[name] for name in ("seconds", "prompt", "threads", "device", "forms")},
    }


def _process(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "groundrl.experiments.bench.rollouts.measure", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr.strip().splitlines()[-1:]}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def section(content: Mapping[str, Any]) -> str:
    """What BENCHMARKS.md says of these results."""
    lines = [
        START,
        "## Rollouts and updates",
        "",
        "`groundrl bench rollouts`: the same work by this project, by TRL's own methods, and by this project with a",
        "prompt for every completion (`padded`). Each case in a fresh process, interleaved, medians; peak memory above",
        "the level after a small update. `x` is how many times ours; in brackets with TRL's head on completions alone,",
        "as on CUDA (on the CPU it scores prompts too). Each in its best of float32 (f) and bfloat16 (b). The bound is",
        "G(P + C) / (P + GC).",
        "",
        "| case | part | ours | TRL | padded | x TRL | x padded | bound |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, values in content["cases"].items():
        for part in PARTS:
            if part in values:
                lines.append(_row(name, part, values[part], values["precision"]))
    floors = [f"{name}: {v['update_over_floor']:.2f}" for name, v in content["cases"].items() if "135M" in name]
    if floors:  # the operations of a vision tower are not counted
        lines += ["", f"Our update over its operations at the rate of a large matrix product: {', '.join(floors)}."]
    devices = {v["device"] for v in content["cases"].values()} - {"cpu"}
    threads = sorted({str(v["threads"]) for v in content["cases"].values() if v["device"] == "cpu"})
    lines += ["", f"With {' or '.join(threads)} threads."] if threads else []
    lines += [f"Cases named CUDA: {', '.join(sorted(devices))}."] if devices else []
    if "curves" in content:
        lines += ["", f"![Cost of an update against group size, prompt length and number of groups]({PICTURE})"]
    return "\n".join([*lines, END])


def _row(name: str, part: str, values: Mapping[str, float], precision: Mapping[str, str]) -> str:
    unit, scale = ("MB", 1e-6) if part == "peak_memory" else ("s", 1.0)
    cells = [f"{values[who] * scale:#.3g} {unit} ({precision[who][0]})" for who in ("ours", "trl", "padded")]
    ratio = f"{values['ratio']:.2f} ({values['ratio_without_prompt_head']:.2f})"
    padded = values["padded"] / values["ours"]
    label = part.replace("_", " ")
    return f"| {name} | {label} | {' | '.join(cells)} | {ratio} | {padded:.2f} | {values['bound']:.2f} |"
