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
# # A reward ablation, and how to read it
#
# Which part of a reward does the work? Leave each out in turn, start every arm of a seed from the same checkpoint
# with the same prompts, and compare on one metric that was named before anything ran and that is no arm's own reward.
# The hard part is to say no more than a handful of seeds can carry.

# %%
import numpy as np

from groundrl.experiments import (
    holm,
    limits,
    plot_field,
    plot_reward,
    power,
    runs_at,
    sign_flip_p,
    sweep,
    t_interval,
)

# %% tags=["parameters"]
SEEDS = 3
PROCESSES = 1  # runs at the same time
OVERRIDES = {}  # of the sweep and, with dotted keys, of its base: {"stages.rl.steps": 20}

# %% [markdown]
# ## Before running: what can so many seeds show?
#
# The test flips the signs of the differences between an arm and `full`. Of `n` seeds there are `2^n` patterns, so the
# smallest two-sided p is `2 / 2^n`, whatever the effect, and Holm's correction multiplies it by the number of arms.

# %%
for seeds in (3, 5, 6, 8):
    print(f"{seeds} seeds, 5 arms: {limits(seeds, 5)}")

# %% [markdown]
# Nor does a p that can be small come out small by itself. The power of a paired t test for one arm whose true effect
# is 1.2 standard deviations between seeds, a large one:

# %%
for seeds in (3, 5, 8, 12):
    print(f"{seeds:>2} seeds: {power(1.2, seeds):.2f}")

# %% [markdown]
# ## Run it
#
# The recipe `ablation`: the quickstart's reward `0.6*box + 0.3*label + 0.1*format` without each of its parts, and
# three controls. `random_reward` is a coin, `format_only` pays the form alone, `more_sft` spends RL's time on SFT.
# Interrupted, the same call goes on where it was.

# %%
done = sweep("ablation", name="notebook-3", seeds=SEEDS, processes=PROCESSES, overrides=OVERRIDES)
done

# %% [markdown]
# ## The figure
#
# Above, each arm's mean over seeds, with `start`, the common checkpoint, as the level of no RL at all. Below, what
# counts: differences paired by seed. An interval that crosses the line has not shown anything, and one that does not
# cross it is a claim only if it is still orange, that is after the correction for having looked at several arms.

# %%
figure = done.figure()

# %% [markdown]
# One sentence an arm, as it may stand in a paper:

# %%
for text in done.results.sentences:
    print(f"- {text}")

# %% [markdown]
# ## Do not compare the rewards
#
# Each arm optimises its own reward, on its own scale: these curves say that every arm learns what it is paid for (or
# that there is nothing to learn, for the coin), and not which is better.

# %%
runs = runs_at([done.folder])
figure = plot_reward(runs)

# %% [markdown]
# A quantity that means the same in every arm can be compared while it is running; the held-out metric decides in the
# end.

# %%
figure = plot_field(runs, "rollout/iou_mean", "IoU of training rollouts")

# %% [markdown]
# ## Five seeds that all agree, and still no p below .05
#
# From the first table of `BENCHMARKS.md`: RL minus the same time of SFT on rendered cells, sampled IoU; and RL minus
# SFT on the true boxes, greedy IoU. Five seeds each.

# %%
measured = {
    "minus more_sft": [0.235, 0.218, 0.206, 0.250, 0.219],
    "minus sft_on_real": [-0.034, -0.048, -0.037, -0.014, -0.038],
}
raw = np.array([sign_flip_p(np.array(values)) for values in measured.values()])
for (name, values), p, corrected in zip(measured.items(), raw, holm(raw), strict=True):
    low, high = t_interval(np.array(values))
    print(f"{name}: {np.mean(values):+.3f} [{low:+.3f}, {high:+.3f}], p = {p:.4f}, corrected {corrected:.3f}")

# %% [markdown]
# Both intervals leave 0 out, all seeds agree, and p is the smallest that five seeds allow. Report the interval, say
# how many seeds there were, and plan eight where a p is wanted.
