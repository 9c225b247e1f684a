"""`make evidence-cuda`, on a machine with a CUDA device: do its paths give what the processor gives, and at what cost?

Three parts, each in a process of its own. `agreement`: log-probs of the embedded base here and on the processor, the
update's forms, the sampler against the trainer, and one short run twice. `bfloat16` and `4bit`: the architecture of
Qwen3-VL-8B with random weights and an adapter of rank 64, RL steps and SFT steps, seconds and gigabytes. Writes
`evidence/results/cuda.json` after each part.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer

from groundrl.experiments.config.model import BASE
from groundrl.rollout.io.records import write_text
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.model.policy import Policy

RESULTS = Path(__file__).parent / "results" / "cuda.json"
PARTS = ("agreement", "bfloat16", "4bit")
PROMPTS, GROUP, ANSWER, SIDE = 8, 8, 128, 512  # of an RL step of the large model: prompts, answers, tokens, pixels


def agreement(folder: Path) -> dict[str, Any]:
    """Differences of log-probs, and whether two runs with one seed are one."""
    found: dict[str, Any] = {"logprobs": {dtype: _logprob_gaps(dtype) for dtype in ("float32", "bfloat16")}}
    runs = [_short_run(folder, name) for name in ("first", "second")]
    found["two runs"] = {
        "steps": len(runs[0]),
        "equal rewards": sum(a == b for a, b in zip(*(_column(run, "reward/mean") for run in runs), strict=True)),
        "equal losses": sum(a == b for a, b in zip(*(_column(run, "loss") for run in runs), strict=True)),
    }
    return found


def _logprob_gaps(dtype: Any) -> dict[str, float]:
    """The largest difference of any token's log-prob, of 8 answers to each of 4 prompts."""
    from groundrl.experiments.data.shipped.crops import NucleiCrops
    from groundrl.rollout.forward.logprobs import CompletionLogprobs
    from groundrl.rollout.forward.planner import Planner
    from groundrl.rollout.sampling.local import LocalEngine
    from groundrl.rollout.settings import Sampling

    examples = [NucleiCrops("test", seed=0)[index] for index in range(4)]
    policy = Policy.load(BASE, dtype=dtype)
    policy.model.to("cuda")
    groups = list(
        LocalEngine(policy).generate(
            examples, group_size=8, sampling=Sampling(max_new_tokens=64), seed_keys=[str(k) for k in range(4)]
        )
    )
    completions = [group.completions for group in groups]

    def of(form: Any, device: str) -> list[list[float]]:
        policy.model.to(device)
        logprobs = CompletionLogprobs(policy, temperature=1.0)
        values: dict[int, list[float]] = {}
        with torch.no_grad():
            prompts = [policy.encode(group.example) for group in groups]
            for rows, batch in Planner(logprobs, update=form, tokens=16_384).batches(prompts, completions):
                values |= dict(zip(rows, logprobs(batch)[0].float().cpu().tolist(), strict=True))
        return [values[row] for row in sorted(values)]

    expected = of("padded", "cuda")
    sampled = [list(one.logprobs) for group in completions for one in group]
    gaps = {"sampler": _gap(sampled, expected), "processor": _gap(sampled, of("padded", "cpu"))}
    return gaps | {form: _gap(of(form, "cuda"), expected, sampled) for form in ("packed", "prefix")}


def _gap(left: Sequence[Sequence[float]], right: Sequence[Sequence[float]], like: Any = None) -> float:
    return max(
        abs(a - b)
        for x, y, z in zip(left, right, like or left, strict=True)
        for a, b in zip(x[: len(z)], y[: len(z)], strict=True)
    )


def _short_run(folder: Path, name: str) -> list[dict[str, Any]]:
    from groundrl.experiments.runs.train import train

    changes = {"stages.sft.steps": 10, "stages.rl.steps": 5, "evaluation.samples_per_example": 1}
    return list(train("quickstart", name=name, runs=folder, overrides=changes, progress=False).metrics)


def _column(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    return [row.get(name) for row in rows]


def large(quantize: Any, folder: Path) -> dict[str, Any]:
    """RL and SFT of the 8B architecture: medians of the steps after the first, and the peak of memory."""
    from groundrl.rollout.model.adapters import POLICY
    from groundrl.rollout.model.freezing import VISION, freeze
    from groundrl.rollout.model.resolution import set_resolution
    from groundrl.rollout.model.storage import store_frozen_in_bfloat16
    from groundrl.rollout.settings import LoraSettings, Resolution

    start = time.perf_counter()
    build_qwen3_vl_8b(folder / "model")
    built = time.perf_counter()
    policy = Policy.load(folder / "model", dtype="bfloat16", quantize=quantize, gradient_checkpointing=True)
    if quantize is None:
        freeze(policy, VISION)
    policy.adapters.add(POLICY, LoraSettings(rank=64, alpha=128), seed=0)
    store_frozen_in_bfloat16(policy, exported=True)
    policy.model.to("cuda")
    set_resolution(policy, Resolution(min_pixels=SIDE**2, max_pixels=SIDE**2))
    loaded = time.perf_counter()
    return {
        "parameters": sum(parameter.numel() for parameter in policy.model.parameters()),
        "resident_bytes": torch.cuda.memory_allocated(),
        "seconds": {"build": built - start, "load": loaded - built},
        "rl": _measured(lambda record: _rl_steps(policy, folder / "rl", record)),
        "sft": _measured(lambda record: _sft_steps(policy, folder / "sft", record)),
    }


def _measured(work: Callable[[Callable[[dict[str, float]], None]], None]) -> dict[str, float]:
    torch.cuda.reset_peak_memory_stats()
    rows: list[dict[str, float]] = []
    work(rows.append)
    names = [name for name in rows[-1] if name.startswith("seconds/") or name == "loss"]
    medians = {name: statistics.median(row[name] for row in rows[1:]) for name in names}
    return medians | {"peak_bytes": torch.cuda.max_memory_allocated(), "steps": len(rows)}


def _rl_steps(policy: Policy, folder: Path, record: Callable[[dict[str, float]], None]) -> None:
    from lightning.fabric import Fabric

    from groundrl.algorithms.loop import train_rl
    from groundrl.algorithms.settings import RLSettings
    from groundrl.experiments.data.shipped.crops import NucleiCrops
    from groundrl.rewards import RandomReward
    from groundrl.rollout.sampling.local import LocalEngine
    from groundrl.rollout.settings import Sampling

    settings = RLSettings(
        name="rl",
        steps=4,
        prompts_per_step=PROMPTS,
        group_size=GROUP,
        lr=1e-5,
        sampling=Sampling(max_new_tokens=ANSWER),
    )
    fabric = Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
    fabric.launch()
    loader = Loader(policy, NucleiCrops("train", seed=0), reserve=ANSWER)
    train_rl(
        policy,
        LocalEngine(policy),
        loader,
        RandomReward(),
        settings,
        fabric=fabric,
        record=lambda step: record(step.metrics),
        folder=folder,
    )


def _sft_steps(policy: Policy, folder: Path, record: Callable[[dict[str, float]], None]) -> None:
    from groundrl.algorithms.settings import SFTSettings
    from groundrl.algorithms.sft import train_sft
    from groundrl.experiments.data.shipped.crops import NucleiCrops

    settings = SFTSettings(steps=4, batch_size=32, micro_batch_size=8, lr=1e-5)
    last = [time.perf_counter()]

    def timed(row: Mapping[str, float]) -> None:
        torch.cuda.synchronize()
        last.append(time.perf_counter())
        record({**row, "seconds/step": last[-1] - last[-2]})

    train_sft(policy, Loader(policy, NucleiCrops("train", seed=0), answers=True), settings, record=timed, folder=folder)


def build_qwen3_vl_8b(folder: Path) -> None:
    """Qwen3-VL-8B-Instruct's architecture in bfloat16 with random weights; the tokenizer is the tiny one's."""
    from transformers import Qwen3VLForConditionalGeneration

    from groundrl.experiments.bench.tiny_model import build_config, build_tokenizer
    from groundrl.rollout.model.private import qwen_image_processor

    tokenizer = build_tokenizer()
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    config = build_config(
        tokenizer,
        vocab_size=151_936,
        hidden_size=4096,
        intermediate_size=12_288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=262_144,
        rope_parameters=rope,
        tie_word_embeddings=False,
    )
    config.tie_word_embeddings = False
    tower = {
        "depth": 27,
        "hidden_size": 1152,
        "intermediate_size": 4304,
        "num_heads": 16,
        "patch_size": 16,
        "out_hidden_size": 4096,
        "num_position_embeddings": 2304,
        "deepstack_visual_indexes": [8, 16, 24],
    }
    for name, value in tower.items():
        setattr(config.vision_config, name, value)
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = Qwen3VLForConditionalGeneration(config)
    torch.set_default_dtype(torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    qwen_image_processor(
        patch_size=16, merge_size=2, temporal_patch_size=2, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder)
    del model
    torch.cuda.empty_cache()


def table(content: dict[str, Any]) -> str:
    """The large model's rows of BENCHMARKS.md, and the log-probs'."""
    lines = ["| weights | stage | a step | of it sampling | update | peak memory |", "|---|---|---|---|---|---|"]
    for part in PARTS[1:]:
        for stage in ("rl", "sft") if part in content else ():
            found = content[part][stage]
            own = [f"{found[name]:.2f} s" if name in found else "" for name in ("seconds/sample", "seconds/update")]
            peak = f"{found['peak_bytes'] / 1e9:.1f} GB"
            lines.append(f"| {part} | {stage} | {found['seconds/step']:.2f} s | {own[0]} | {own[1]} | {peak} |")
    lines += ["", "| precision | sampler | packed | prefix | the processor |", "|---|---|---|---|---|"]
    for dtype, gaps in content["agreement"]["logprobs"].items():
        cells = (f"{gaps[name]:.1e}" for name in ("sampler", "packed", "prefix", "processor"))
        lines.append(f"| {dtype} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(part: Annotated[str | None, typer.Option(help=f"One of {', '.join(PARTS)}; all by default.")] = None) -> None:
    """Run all parts, or one, and keep what they found."""
    if not torch.cuda.is_available():
        raise SystemExit("make evidence-cuda needs a CUDA device, and there is none here")
    if part is None:
        codes = [subprocess.run([sys.executable, "-m", __spec__.name, "--part", each]).returncode for each in PARTS]
        raise SystemExit(max(codes))
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        found = agreement(folder) if part == "agreement" else large("4bit" if part == "4bit" else None, folder)
    content: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    content |= {"device": torch.cuda.get_device_name(), "torch": torch.__version__, part: found}
    write_text(json.dumps(content, indent=2) + "\n", RESULTS)
    print(json.dumps({part: found}))


if __name__ == "__main__":
    typer.run(main)
