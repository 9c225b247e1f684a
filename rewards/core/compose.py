"""The algebra of rewards: weighted sums and products.

A composed reward scores its parts on the whole group, then combines them row by row; what its parts said stays in
`Score.parts`. One rule for what is no number: an error in any part is an error of the whole, then `nonfinite`; a part
that abstains is left out, the weights of the others as they are.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from groundrl.rewards.core.glossary import Completion, Example, Score, ScoreStatus
from groundrl.rewards.core.reward import Reward, keep_name


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Composed(Reward):
    """A reward made of others, each under its own name."""

    @abstractmethod
    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The score of the whole from the scores of its parts."""

    @abstractmethod
    def rebuilt(self, children: Sequence[Reward]) -> Reward:
        """The same composition of other parts."""

    def __post_init__(self) -> None:
        names = [child.name for child in self.children]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two parts are called {twice[0]!r}; give one another name with .named('...')")

    def score(self, completion: Completion, example: Example) -> Score:
        """The combined score of one completion."""
        return self.score_group((completion,), example)[0]

    def score_group(self, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
        """Each part scores the group, then the parts are combined for each completion."""
        columns = [scored(child, completions, example) for child in self.children]
        names = [child.name for child in self.children]
        return [self.combine(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]

    @property
    def groupwise(self) -> bool:
        """Whether any part looks at the whole group."""
        return any(child.groupwise for child in self.children)

    def at(self, step: int) -> Reward:
        """The composition of the parts as they are at this step."""
        return keep_name(self, self.rebuilt([child.at(step) for child in self.children]))

    def observe(self, scores: Sequence[Score]) -> None:
        """Each part is told its own scores."""
        for child in self.children:
            child.observe([score.parts[child.name] for score in scores if child.name in score.parts])

    def state_dict(self) -> dict[str, Any]:
        """The states of the parts that have one, by name."""
        return {child.name: state for child in self.children if (state := child.state_dict())}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give each part its own state back."""
        parts = {child.name: child for child in self.children}
        if unknown := sorted(set(state) - set(parts)):
            raise ValueError(f"the saved state has parts {unknown}; this reward has {sorted(parts)}")
        for name, own in state.items():
            parts[name].load_state_dict(own)


def scored(reward: Reward, completions: Sequence[Completion], example: Example) -> Sequence[Score]:
    """A reward's scores of a group, checked: one for each completion. ValueError for any other number of them."""
    try:
        scores = reward.score_group(completions, example)
    except Exception as problem:  # whatever it is goes on its way, with the name of the part in which it arose
        problem.add_note(f"in reward {reward.name!r}")
        raise
    if len(scores) != len(completions):
        raise ValueError(f"reward {reward.name!r} gave {len(scores)} scores for {len(completions)} completions")
    return scores


def failed(scores: Mapping[str, Score]) -> Score | None:
    """The score of a whole in which a part failed or all abstain, else None."""
    statuses = {name: score.status for name, score in scores.items() if score.status != "ok"}
    if not statuses:
        return None
    for status in ("error", "nonfinite"):
        if at_fault := [name for name, own in statuses.items() if own == status]:
            return missing(status, scores, reason=f"{status} in {', '.join(at_fault)}")
    return missing("abstain", scores, reason="every part abstains") if len(statuses) == len(scores) else None


def missing(status: str, scores: Mapping[str, Score], *, reason: str) -> Score:
    """The score of a whole that has no value, with the scores of its parts."""
    statuses: dict[str, ScoreStatus] = {"error": "error", "nonfinite": "nonfinite", "abstain": "abstain"}
    return Score(value=None, status=statuses[status], parts=scores, detail={"reason": reason})


def bracketed(reward: Reward) -> str:
    """A reward as it stands inside a larger expression."""
    plain = isinstance(reward, Sum | Product) and not reward.renamed
    return f"({reward!r})" if plain else repr(reward)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Sum(Composed):
    """The weighted sum of named parts; a part that abstains adds nothing.

    The range counts every part as able to abstain, so it always contains 0.
    """

    name = "total"
    terms: tuple[tuple[float, Reward], ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(math.isfinite(weight) for weight, _ in self.terms):
            raise ValueError(f"the weights of a sum must be finite, got {[weight for weight, _ in self.terms]}")
        ends = [(weight * end, 0.0) for weight, reward in self.terms for end in reward.range]
        pairs = [(*low, *high) for low, high in zip(ends[::2], ends[1::2], strict=True)]
        vars(self)["range"] = (math.fsum(min(pair) for pair in pairs), math.fsum(max(pair) for pair in pairs))

    @property
    def children(self) -> tuple[Reward, ...]:
        """The parts, in order."""
        return tuple(reward for _, reward in self.terms)

    @property
    def weights(self) -> Mapping[str, float]:
        """Part name -> weight."""
        return {reward.name: weight for weight, reward in self.terms}

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The weighted sum of the parts that do not abstain, exactly rounded."""
        if (problem := failed(scores)) is not None:
            return problem
        values = [(weight, scores[reward.name].value) for weight, reward in self.terms]
        return Score(value=math.fsum(weight * value for weight, value in values if value is not None), parts=scores)

    def rebuilt(self, children: Sequence[Reward]) -> Reward:
        """The same weights on other parts."""
        return Sum(terms=tuple((weight, child) for (weight, _), child in zip(self.terms, children, strict=True)))

    def expression(self) -> str:
        """`0.6*SoftF1() + ...`, in brackets before a method call."""
        text = " + ".join(f"{weight!r}*{bracketed(reward)}" for weight, reward in self.terms)
        return f"({text})" if self.renamed else text


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Product(Composed):
    """The product of named factors; it abstains where any factor does."""

    factors: tuple[Reward, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        vars(self)["name"] = "_x_".join(factor.name for factor in self.factors)
        lo = hi = 1.0
        for factor in self.factors:
            ends = [a * b for a in (lo, hi) for b in factor.range]
            lo, hi = min(ends), max(ends)
        vars(self)["range"] = (lo, hi)

    @property
    def children(self) -> tuple[Reward, ...]:
        """The factors, in order."""
        return self.factors

    def combine(self, scores: Mapping[str, Score]) -> Score:
        """The product of the factors."""
        if (problem := failed(scores)) is not None:
            return problem
        values = [score.value for score in scores.values()]
        if None in values:
            return missing("abstain", scores, reason="a factor abstains")
        return Score(value=math.prod(value for value in values if value is not None), parts=scores)

    def rebuilt(self, children: Sequence[Reward]) -> Reward:
        """The product of other factors."""
        return Product(factors=tuple(children))

    def expression(self) -> str:
        """`A() * B()`, in brackets before a method call."""
        text = " * ".join(map(bracketed, self.factors))
        return f"({text})" if self.renamed else text


def add(a: Reward, b: Reward) -> Reward:
    """`a + b`: one sum with the terms of both; a sum that has a name of its own stays one term."""
    return Sum(terms=_terms(a) + _terms(b))


def multiply(a: Reward, b: Reward | float) -> Reward:
    """`a * b`: a number scales the weights; two rewards make a product."""
    if not isinstance(b, Reward):
        return Sum(terms=tuple((float(b) * weight, reward) for weight, reward in _terms(a)))
    (left, one), (right, other) = _scaled(a), _scaled(b)
    product = Product(factors=_factors(one) + _factors(other))
    return product if left * right == 1.0 else Sum(terms=((left * right, product),))


def _terms(reward: Reward) -> tuple[tuple[float, Reward], ...]:
    return reward.terms if isinstance(reward, Sum) and not reward.renamed else ((1.0, reward),)


def _factors(reward: Reward) -> tuple[Reward, ...]:
    return reward.factors if isinstance(reward, Product) and not reward.renamed else (reward,)


def _scaled(reward: Reward) -> tuple[float, Reward]:
    """A sum of one term, as `0.6*a` is, taken apart; so that `0.6*a*b` is `0.6*(a*b)`."""
    terms = _terms(reward)
    return terms[0] if len(terms) == 1 else (1.0, reward)
