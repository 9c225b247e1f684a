"""What goes wrong in RL and shows in its metrics: named warnings, each with what to try. Pure functions over metrics.

A check looks at the first steps of a stage and at the latest, as means, since one noisy step is no trend.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Row = Mapping[str, float]
Rows = Sequence[Row]

FIRST = 10  # steps that say how the stage began: enough to average over a few hundred completions
LATEST = 5  # steps that say how it goes
QUIET = 50  # steps for which a warning is not said again

# Entropy falls in every healthy run (to 0.4 of its start in the quickstart); below a fifth little is left to explore.
ENTROPY_LEFT = 0.2
# A group whose scores are equal teaches nothing: at three quarters a step learns from the fourth part of its samples.
FLAT_SHARE = 0.75
# In nats a token. Against the window's own policy: PPO implementations stop a window at 0.015 to 0.05. Against the
# reference: at 1 a token is on average e times likelier than it was, and the reference's language is left.
APPROX_KL, REF_KL = 0.1, 1.0
# Twice as long and still growing costs twice the time; half of all answers cut off means that scores are of stumps.
LONGER, CUT_OFF = 2.0, 0.5
# The share of tokens whose ratio is clipped is around 0.1 in PPO and GRPO; at 0.3 much of the window has no gradient.
CLIPPED = 0.3
# log(1.2): before any update such a token's ratio would already leave a clip range of 0.2.
SAMPLER_GAP = 0.18


@dataclass(frozen=True, kw_only=True)
class HealthWarning:
    """`name` of a check in `CHECKS`, and in `message` what was seen and what to try."""

    name: str
    message: str


def entropy_collapse(first: Rows, latest: Rows) -> str | None:
    """The policy hardly varies any more."""
    began, now = mean(first, "entropy"), mean(latest, "entropy")
    if now < ENTROPY_LEFT * began:
        return (
            f"entropy fell from {began:.3g} to {now:.3g} nats a token; try a higher clip_high, a small entropy_coef, a "
            "lower lr, or prompts that are harder"
        )
    return None


def zero_variance(first: Rows, latest: Rows) -> str | None:
    """Most groups have equal scores."""
    flat, informative = mean(latest, "groups/zero_variance"), mean(latest, "groups/informative")
    if flat > FLAT_SHARE * (flat + informative):
        return (
            f"{flat / (flat + informative):.0%} of the groups have equal scores and teach nothing; try "
            "dynamic_sampling, a larger group_size, prompts of another difficulty, or a reward with more steps"
        )
    return None


def kl_runaway(first: Rows, latest: Rows) -> str | None:
    """The policy runs away from the one that sampled, or from the reference."""
    approx, ref = mean(latest, "approx_kl"), mean(latest, "ref_kl")
    if approx > APPROX_KL:
        return f"an update moves the policy by {approx:.3g} nats a token; try a lower lr or fewer epochs"
    if ref > REF_KL:
        return f"the policy is {ref:.3g} nats a token from the reference; try a higher kl_coef or a lower lr"
    return None


def length_explosion(first: Rows, latest: Rows) -> str | None:
    """Answers grow, or most run into the limit."""
    began, now = mean(first, "completion_length/mean"), mean(latest, "completion_length/mean")
    cut = mean(latest, "completions/truncated")
    remedy = "try Overlong in the reward, objective dr_grpo, or look at what the reward pays long answers for"
    if cut > CUT_OFF:
        return f"{cut:.0%} of the answers run into max_new_tokens; raise it, or {remedy}"
    if now > LONGER * began:
        return f"answers grew from {began:.0f} to {now:.0f} tokens; {remedy}"
    return None


def clipped_share(first: Rows, latest: Rows) -> str | None:
    """Much of the window is outside the clip range and has no gradient."""
    share = mean(latest, "clip_frac")
    if share > CLIPPED:
        return f"{share:.0%} of the tokens are clipped; try a lower lr, fewer epochs, or a wider clip range"
    return None


def sampler_gap(first: Rows, latest: Rows) -> str | None:
    """Sampler and trainer disagree about the policy that sampled."""
    gap = latest[-1].get("sampler_gap", math.nan)
    if gap > SAMPLER_GAP:
        return (
            f"sampler and trainer differ by up to {gap:.3g} in the log-prob of a token; try importance_correction, "
            "dtype float32, or update: padded (top_k, top_p and min_p alone make them differ)"
        )
    return None


def skipped_update(first: Rows, latest: Rows) -> str | None:
    """A gradient was not finite."""
    count = latest[-1].get("updates/skipped", 0.0)
    if count > 0:
        return (
            f"{count:.0f} update(s) skipped, for the gradient was not finite; try a lower lr, a lower max_grad_norm, "
            "dtype float32, or look at the scores of this step"
        )
    return None


Check = Callable[[Rows, Rows], str | None]
TRENDS: dict[str, Check] = {
    "entropy_collapse": entropy_collapse,
    "zero_variance": zero_variance,
    "kl_runaway": kl_runaway,
    "length_explosion": length_explosion,
    "clipped_share": clipped_share,
}
AT_ONCE: dict[str, Check] = {"sampler_gap": sampler_gap, "skipped_update": skipped_update}
CHECKS = TRENDS | AT_ONCE


def mean(rows: Rows, metric: str) -> float:
    """Over the rows that have the metric; nan where none has, with which no comparison is true."""
    values = [row[metric] for row in rows if metric in row and math.isfinite(row[metric])]
    return sum(values) / len(values) if values else math.nan


def warnings_of(first: Rows, latest: Rows) -> list[HealthWarning]:
    """What the checks say of the first rows of a stage and its latest, the newest last; trends need `LATEST` rows."""
    checks = CHECKS if len(latest) >= LATEST else AT_ONCE
    found = {name: check(first, latest) for name, check in checks.items()}
    return [HealthWarning(name=name, message=message) for name, message in found.items() if message is not None]


class Watch:
    """Follows one stage; each warning at most once in `QUIET` steps."""

    def __init__(self) -> None:
        self._first: list[Row] = []
        self._latest: list[Row] = []
        self._said: dict[str, int] = {}
        self._step = 0

    def check(self, row: Row) -> list[HealthWarning]:
        """The warnings after a further step."""
        self._step += 1
        if len(self._first) < FIRST:
            self._first.append(row)
        self._latest = [*self._latest, row][-LATEST:]
        new = [
            warning
            for warning in warnings_of(self._first, self._latest)
            if warning.name not in self._said or self._step - self._said[warning.name] >= QUIET
        ]
        self._said |= {warning.name: self._step for warning in new}
        return new
