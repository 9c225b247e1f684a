# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own model and data
#
# What you bring: a model folder, and either lines of JSON or pictures with masks. What happens here with a small
# stand-in for both happens in the same way with Qwen3-VL-8B and your slides; the last section lists what to change.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import yaml
from rich.console import Console

from groundrl.experiments import (
    CellSettings,
    JsonlSource,
    MaskReading,
    NucleiCrops,
    audit_tables,
    build_cells,
    build_tiny_qwen3_vl,
    draw_boxes,
    load_config,
    train,
)
from groundrl.rewards import DataError, audit, parse_reward

# %% tags=["parameters"]
CROPS = 120
AUDITED = 60  # examples
OVERRIDES = {}  # of the configuration; {"stages.sft.steps": 50} is quicker and learns less

# %% [markdown]
# ## Data: one line an example
#
# A line of JSONL holds the fields of an `Example`. Image paths are relative to the file, and the space of the boxes
# is declared, never guessed from their size.

# %%
folder = Path("my_data")
folder.mkdir(exist_ok=True)
(folder / "slide.png").write_bytes((NucleiCrops.FOLDER / "image.png").read_bytes())
line = {
    "id": "a1",
    "prompt": "Detect the nuclei.",
    "images": ["slide.png"],
    "answer": "1 nucleus <box>[[100, 200, 300, 400]]</box>",
    "reference": {"label": "1 nucleus", "boxes": {"xyxy": [[51, 102, 154, 205]], "space": "pixel"}},
}
wrong = line | {"id": "a2", "reference": {"boxes": {"xyxy": [[51, 102, 154, 777]], "space": "pixel"}}}
(folder / "mine.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(wrong) + "\n")
source = JsonlSource(folder / "mine.jsonl")
print(source[0].reference.boxes.xyxy, source[0].images[0].width)

# %% [markdown]
# A faulty line is named with what to do about it. `data.on_error: skip` leaves it out and counts it.

# %%
try:
    source[1]
except DataError as error:
    print(error)

# %% [markdown]
# ## Or: from pictures with masks
#
# `build_cells` (`groundrl data cells` on the command line) cuts crops, counts as an object what is at least half
# visible, and splits by whole pictures or, for a single large one, by regions, so that no pixel is in both splits.
# Rare crops are drawn as often as common ones while they last. Read the data card that it writes before training on
# anything.

# %%
build_cells(
    NucleiCrops.FOLDER / "image.png",
    NucleiCrops.FOLDER / "mask.png",
    folder / "bench",
    reading=MaskReading(name="nucleus"),
    settings=CellSettings(size=64, crops=CROPS, split="region", answer="{count} nuclei <box>{boxes}</box>"),
    overwrite=True,
)
print((folder / "bench" / "README.md").read_text()[:900])

# %%
test = JsonlSource(folder / "bench" / "test.jsonl")
figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
for k, place in enumerate(axes):
    example = test[k * (len(test) - 1) // 3]
    draw_boxes(place, example, None, f"{example.reference.label}, block {example.block}")

# %% [markdown]
# ## The reward, attacked on your own data
#
# Before any training: what does the reward pay for answers that never look at the image? A blind policy near the gold
# answers' pay means that training can be expected to find it too.

# %%
reward = "0.6*SoftF1() + 0.3*LabelAccuracy() + 0.1*Format()"
train_set = JsonlSource(folder / "bench" / "train.jsonl")
report = audit(parse_reward(reward), [train_set[k] for k in range(min(AUDITED, len(train_set)))])
Console().print(audit_tables(report)[0])
print("passed" if report.passed else "flagged")

# %% [markdown]
# ## A model folder
#
# Any folder that transformers loads as a causal language model or a Qwen-VL model. The stand-in is a real Qwen3-VL
# with random weights and about a million parameters, so nothing good is to be expected of its boxes.

# %%
build_tiny_qwen3_vl(folder / "model")
print(sorted(path.name for path in (folder / "model").iterdir()))

# %% [markdown]
# ## One configuration, one run
#
# The same keys as in a YAML file. SFT first: from random weights no answer has a readable box, every group would earn
# the same, and RL would have nothing to learn from.

# %%
mine = {
    "name": "notebook-5",
    "model": {"path": str(folder / "model")},
    "data": {"train": str(folder / "bench" / "train.jsonl"), "test": str(folder / "bench" / "test.jsonl")},
    "reward": reward,
    "stages": [
        {"name": "sft", "kind": "sft", "steps": 400, "batch_size": 32, "lr": 3e-3},
        {
            "name": "rl",
            "kind": "rl",
            "steps": 20,
            "prompts_per_step": 8,
            "group_size": 8,
            "lr": 1e-4,
            "max_new_tokens": 96,
        },
    ],
    "evaluation": {"samples_per_example": 2, "max_new_tokens": 96},
}
run = train(mine, overrides=OVERRIDES, overwrite=True)
figure = run.curves()

# %% [markdown]
# First the form, then the content: see whether `format_rate` is up before you ask anything of the IoU. And look at
# groups without variance (`groups/zero_variance`): they cost as much as others and teach nothing.

# %%
for stage, found in run.evaluation["stages"].items():
    print(
        f"{stage:>3}: " + ", ".join(f"{name} {found[name]:.3f}" for name in ("format_rate", "iou_mean", "reward_mean"))
    )
last = run.metrics[-1]
print(f"groups of the last step: {last['groups/informative']:.0f} informative, {last['groups/zero_variance']:.0f} not")

# %% [markdown]
# `run.checkpoint()` is a Hugging Face folder again, with tokenizer and image processor.
#
# ## Qwen3-VL-8B on GPUs: what to change
#
# Nothing but the configuration. Checked here as far as a machine without the weights can: every key is known and
# within its bounds.

# %%
large = yaml.safe_load("""
name: qwen3-vl-8b
model:
  path: Qwen/Qwen3-VL-8B-Instruct   # or a folder
  dtype: bfloat16                   # half the memory of float32; log-probs stay in float32
  lora: {rank: 32, alpha: 64}       # train an adapter; the reference policy is the adapter switched off
  freeze_vision: true               # an image is then encoded once a step, not once an update
  gradient_checkpointing: true      # less memory, more time
data: {train: train.jsonl, test: test.jsonl, on_error: skip}
reward: 0.6*SoftF1() + 0.3*LabelAccuracy() + 0.1*Format()
stages:
  - {name: sft, kind: sft, steps: 500, batch_size: 64, micro_batch_size: 4, lr: 1.0e-4}
  - {name: rl, kind: rl, steps: 200, prompts_per_step: 32, group_size: 8, lr: 1.0e-5, kl_coef: 0.001,
     clip_low: 0.15, clip_high: 0.25, max_new_tokens: 512, micro_batch_tokens: 32768}
hardware: {devices: 8}
""")
settings, _ = load_config(large, {})
print(settings.model, settings.hardware, sep="\n")

# %% [markdown]
# - **Learning rates** are for an adapter. All weights (no `lora`) want about a tenth: MedMO's SFT stages use 1e-5 to
#   5e-6.
# - **Is SFT needed?** An instructed model may write boxes already: evaluate it first (a run with one short stage does
#   it). RL needs answers that can be read, and something left to gain: in MedMO's table its box reward adds 4.5
#   points of IoU where SFT was weak and 0.4 where it was strong.
# - **Memory**: `micro_batch_size` (SFT) and `micro_batch_tokens` (RL) bound one forward; neither changes what a step
#   computes. `quantize: 4bit` under `lora` holds the weights in four bits.
# - **Several GPUs**: `torchrun --nproc-per-node 8 -m groundrl.experiments.cli train mine.yaml`.
# - **Before the first step** the preflight says how many groups have something to teach, whether sampler and trainer
#   agree, and what memory it will take.
