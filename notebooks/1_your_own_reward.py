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
# # Define your own reward, and look at what it says
#
# A reward is a function from a completion and an example to a number in a declared range. This notebook writes one,
# tests it, looks at it on a real crop, and composes it with others. Nothing is trained.

# %%
from groundrl.experiments import NucleiCrops
from groundrl.rewards import Completion, Example, Format, SoftF1, explain, match_boxes, parse_reward, presets, reward


# %%
@reward(range=(0, 1))
def tight(completion: Completion, example: Example) -> float | None:
    """The share of true boxes that some predicted box overlaps by 0.7."""
    truth, predicted = example.reference.boxes, completion.boxes
    if truth is None or len(truth) == 0:
        return None
    if predicted is None:
        return 0.0
    return float((match_boxes(predicted.xyxy, truth.to(predicted.space).xyxy).values >= 0.7).sum() / len(truth))


# %% [markdown]
# Its test: the gold answer is the best one, a box elsewhere is worth nothing, a negative image is none of its
# business.

# %%
crops = NucleiCrops("test")
assert tight.explain(crops[1].answer, crops[1]).score.value == 1.0
assert tight.explain("1 nucleus <box>[[000, 000, 100, 100]]</box>", crops[1]).score.value == 0.0
assert tight.explain(crops[0].answer, crops[0]).score.status == "abstain"

# %% [markdown]
# What it says of one answer, with the boxes on the image:

# %%
explain(tight, "1 nucleus <box>[[000, 000, 100, 100]]</box>", crops[1])

# %% [markdown]
# Sums, gates and names. `repr` is an expression that a configuration takes.

# %%
total = 0.5 * tight + 0.4 * SoftF1() + 0.1 * Format()
print(total)
print(explain(total, crops[3].answer, crops[3]))
assert repr(parse_reward("0.9*SoftF1() + 0.1*Format()")) == repr(0.9 * SoftF1() + 0.1 * Format())

# %% [markdown]
# Enumeration does not pay: a 5 x 5 grid of boxes under this reward, under `SoftF1`, and under MedMO's box part as
# published.

# %%
grid = ", ".join(f"[{x}, {y}, {x + 200}, {y + 200}]" for x in range(0, 1000, 200) for y in range(0, 1000, 200))
answer = f"25 nuclei <box>[{grid}]</box>"
for candidate in (tight, SoftF1(), presets.medmo_box(as_published=True)):
    print(f"{candidate.name:>12}: {candidate.explain(answer, crops[1]).score.value:.3f}")
