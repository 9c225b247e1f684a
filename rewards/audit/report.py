"""What an audit found, as data; printed, a table for the terminal."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from groundrl.rewards.audit.attack import COST, Kind, Rule

Interval = tuple[float, float]
RULE = (
    "share = (policy - worst) / (gold - worst), on the examples that the policy answers. A blind policy is flagged "
    f"from the threshold on; a spoiled gold answer that must cost something above {1 - COST:g}; one that may cost "
    "nothing above 1. Worst is the least that any policy earns that does not say far too much."
)


@dataclass(frozen=True, kw_only=True)
class Offence:
    """One completion, what the reward paid for it, and what it pays for the gold answer; None where it gave no number.

    For a check that compares two scores, `gold` is the other one.
    """

    example_id: str
    text: str
    score: float | None
    gold: float | None


@dataclass(frozen=True, kw_only=True)
class PolicyResult:
    """What one policy earns.

    `kind`: `blind`, `count` (told only the number of true boxes) or `truth` (the gold answer, spoiled). `reason` says
    why it does not apply, and then the numbers are None. `scale` is its share, `limit` the share at which `rule` flags
    it. Intervals are 95 %, Student's t over blocks; None with fewer than two. `offences`: its best paid completions.
    """

    name: str
    does: str
    kind: Kind
    rule: Rule
    limit: float
    reason: str | None = None
    num_examples: int = 0
    mean: float | None = None
    interval: Interval | None = None
    scale: float | None = None
    scale_interval: Interval | None = None
    flagged: bool = False
    offences: tuple[Offence, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Check:
    """A property of a sound reward; `passed` is None where it does not apply, `detail` says why or what is wrong."""

    name: str
    passed: bool | None
    detail: str = ""
    offences: tuple[Offence, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Rung:
    """The mean reward of gold answers under so much noise: boxes moved by this share of their size, or this share of
    a report's sentences left out.
    """

    noise: float
    mean: float


@dataclass(frozen=True, kw_only=True)
class AuditReport:
    """An audit of one reward: what gold earns, what each policy earns, and the checks."""

    reward: str
    fingerprint: str
    num_examples: int
    num_blocks: int
    seed: int
    threshold: float
    gold: float | None
    gold_interval: Interval | None
    worst: float | None
    policies: tuple[PolicyResult, ...]
    ladder: tuple[Rung, ...]
    checks: tuple[Check, ...]

    @property
    def flagged(self) -> tuple[PolicyResult, ...]:
        """The policies that passed their limit, the best paid first."""
        return tuple(sorted((p for p in self.policies if p.flagged), key=lambda p: (-(p.scale or 0.0), p.name)))

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.passed is False)

    @property
    def passed(self) -> bool:
        """Whether no policy is flagged and no check failed."""
        return not self.flagged and not self.failed

    @property
    def verdict(self) -> str:
        """The outcome in one sentence, naming each finding."""
        found = [f"{policy.name} ({policy.scale:.2f})" for policy in self.flagged]
        found += [f"{check.name}: {check.detail}" for check in self.failed]
        return f"flagged: {'; '.join(found)}" if found else f"passed: no policy reaches {self.threshold:g}"

    def as_json(self) -> dict[str, Any]:
        """Everything as plain data, numbers to six digits behind the point."""
        rounded: dict[str, Any] = _rounded({"schema": 1, "passed": self.passed, "rule": RULE, **asdict(self)})
        return rounded

    def __str__(self) -> str:
        head = f"audit of {self.reward}: {self.num_examples} examples in {self.num_blocks} blocks"
        lines = [head, f"gold {number(self.gold)}, worst {number(self.worst)}", ""]
        lines.append(f"{'policy':<30} {'kind':<6} {'reward':>7} {'share':>6} {'limit':>6}")
        for policy in self.policies:
            shown = f"{policy.name:<30} {policy.kind:<6}"
            if policy.reason is not None:
                lines.append(f"{shown} not applicable: {policy.reason}")
                continue
            mark = "  FLAGGED" if policy.flagged else ""
            lines.append(f"{shown} {number(policy.mean):>7} {number(policy.scale):>6} {policy.limit:>6.2f}{mark}")
        lines.append("")
        for check in self.checks:
            outcome = {True: "ok", False: "FAILED", None: "not applicable"}[check.passed]
            lines.append(f"{check.name}: {outcome}{f' ({check.detail})' if check.detail else ''}")
        return "\n".join([*lines, "", self.verdict])


def number(value: float | None) -> str:
    """Three digits, or a dash."""
    return "-" if value is None else f"{value:.3f}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) + 0.0  # no -0.0
    if isinstance(value, dict):
        return {key: _rounded(own) for key, own in value.items()}
    return [_rounded(own) for own in value] if isinstance(value, list | tuple) else value
