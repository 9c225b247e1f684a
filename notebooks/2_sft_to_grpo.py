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
# # From SFT to GRPO on nuclei
#
# A tiny Qwen3-VL has only ever seen *rendered* cells. Here it is adapted to real fluorescence microscopy by nothing
# but a score: a short SFT stage on rendered cells, then GRPO on real crops. Look at three things on the way: how the
# two kinds of pictures differ, what one group of answers teaches, and on which crops the gain is.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from rich.console import Console

from groundrl.experiments import (
    NucleiCrops,
    RenderedCells,
    before_and_after,
    difference_table,
    draw_boxes,
    draw_pairs,
    train,
)

# %% tags=["parameters"]
SEED = 0
OVERRIDES = {}  # of the configuration; {"stages.rl.steps": 30} is quicker and learns less

# %% [markdown]
# ## What SFT saw and what RL will see
#
# Above, rendered cells; below, real test crops, both with their true boxes. The answer format is the same, the light,
# the texture and the crowding are not.

# %%
figure, axes = plt.subplots(2, 4, figsize=(10, 5.4), layout="constrained")
for row, (name, source) in zip(axes, (("rendered", RenderedCells()), ("real", NucleiCrops("test"))), strict=True):
    for count, place in enumerate(row, start=1):
        draw_boxes(place, source[count], None, f"{name}: {source[count].reference.label}")
print(source[3].answer)

# %% [markdown]
# ## Train
#
# `train` runs the recipe `quickstart`: SFT, GRPO, an evaluation after each on the same 256 test crops. On two cores
# it takes a few minutes.

# %%
run = train("quickstart", name="notebook-2", seed=SEED, overrides=OVERRIDES, overwrite=True)

# %% [markdown]
# ## The curves
#
# Read them in this order. *Reward and its parts*: which part pays for the rise? *IoU*: training rollouts, and as
# black marks the test crops; do both move together? *Groups*: only an informative group, whose answers earned
# different rewards, teaches anything. *Policy*: entropy that falls towards 0 early means that the sampling has
# stopped to explore.

# %%
figure = run.curves()

# %% [markdown]
# ## One group
#
# The first RL step's first group: eight answers to one crop, sorted by reward. The advantage of an answer is its
# reward minus the group's mean, over the group's standard deviation. There is no critic: the answers are each other's
# baseline.

# %%
first = next(row["step"] for row in run.metrics if row["stage"] == "rl")
figure = run.show(step=first, group=0)

# %%
rows = [row for row in run.rollouts.to_pylist() if row["step"] == first and row["group"] == 0]
rewards = np.array([row["reward"] for row in rows])
by_hand = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-4)
assert np.allclose(by_hand, [row["advantage"][0] for row in rows], atol=1e-4)
for row, advantage in sorted(zip(rows, by_hand, strict=True), key=lambda pair: -pair[1])[:4]:
    print(f"reward {row['reward']:.3f}, advantage {advantage:+.2f}: {row['text'][:90]}")

# %% [markdown]
# ## Did it help?
#
# The difference on the test crops, with Student's t interval over the image's tiles, which share no pixel.
# Overlapping crops are not independent, so an interval over crops would be too narrow.

# %%
Console().print(difference_table(run.evaluation))

# %% [markdown]
# Examples, evenly spaced through the test set and not chosen: solid is the truth, dashed the greedy answer.

# %%
figure = plt.figure(figsize=(11, 4.2), layout="constrained")
draw_pairs(figure, before_and_after(run.folder))

# %% [markdown]
# And where is the gain? A mean hides it, so look at the greedy IoU by the number of nuclei in a crop.

# %%
truth = {example.id: len(example.reference.boxes) for example in NucleiCrops("test")}
for stage in ("sft", "rl"):
    rows = pq.read_table(run.folder / "evaluation" / f"{stage}.parquet").to_pylist()
    greedy = [(truth.get(row["example_id"], 0), row["iou"]) for row in rows if row["decoding"] == "greedy"]
    by_count = {count: np.mean([iou for n, iou in greedy if n == count]) for count in sorted({n for n, _ in greedy})}
    print(f"after {stage:>3}: " + ", ".join(f"{count} nuclei {iou:.2f}" for count, iou in by_count.items()))

# %% [markdown]
# One seed is one story. `BENCHMARKS.md` has five, with two controls that this notebook leaves out: going on with SFT on
# rendered cells for the same time, which gains nothing, and SFT on the true boxes of the same real crops, where one has
# them, which does as well sampled and a little better greedy. RL is for where a score is cheaper than an answer.
