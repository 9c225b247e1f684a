"""`Factuality`: how far a report agrees with a reference report and with itself. It cannot know the truth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from groundrl.rewards.core.glossary import Completion, Example, Score
from groundrl.rewards.core.lazy import lazy
from groundrl.rewards.core.reward import Reward, unreadable
from groundrl.rewards.factuality.compare import Comparison, FactSet, compare, fact_set, quiet
from groundrl.rewards.factuality.facts import Fact, Reading, Span, read_facts
from groundrl.rewards.factuality.knowledge import Inconsistency, inconsistencies
from groundrl.rewards.factuality.lexicon import LexiconSource, compiled, merged_text
from groundrl.rewards.factuality.reading import answer_text, rules

_PARTS = ("true_positives", "false_positives", "misses", "contradictions", "inconsistencies")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Factuality(Reward):
    """Agreement of the answer's facts with those of `reference.report`, and its consistency; in [0, 1].

    By rules, without a model: **it measures agreement with a reference and consistency, it cannot know the truth**. A
    fact is `(concept, polarity, laterality, anatomy)`; facts are sets, so a repetition earns nothing. The value is

        clip01(F1 - contradiction_cost * contradictions / max(1, weight) - inconsistency_cost * inconsistencies)

    with F1 and `weight` as `compare.py` says and the inconsistencies those of `knowledge.py` that the reference does
    not have too. No facts against a reference with facts is 0; a reference without facts abstains, unless the answer
    claims a finding (0). Absent findings and normals weigh `absent_weight`.

    `lexicon` is a JSON file or a mapping of sections merged over the shipped words (`load_lexicon`). The answer's boxes
    are no part of its text. `parts` hold the facts in question with their spans in the completion (`misses`: in the
    reference), their value is how many; `detail` has precision, recall and F1.
    """

    lexicon: LexiconSource = None
    absent_weight: float = 0.25
    contradiction_cost: float = 1.0
    inconsistency_cost: float = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.absent_weight <= 1:
            raise ValueError(f"Factuality's absent_weight is from 0 to 1, got {self.absent_weight}")
        for name in ("contradiction_cost", "inconsistency_cost"):
            if not 0 <= getattr(self, name) <= 10:
                raise ValueError(f"Factuality's {name} is from 0 to 10, got {getattr(self, name)}")
        if self.lexicon is not None:
            compiled(self._words)  # a wrong entry is refused here; the shipped words wait until they are needed

    @lazy
    def _words(self) -> str:
        return merged_text(self.lexicon)

    def behind(self) -> Iterator[bytes]:
        """The words and the source of the rules."""
        return rules(self._words)

    def score(self, completion: Completion, example: Example) -> Score:
        """The agreement; abstains where the reference has no report, or one without facts."""
        report = example.reference.report
        if report is None:
            return _abstain("the reference has no report")
        if (problem := unreadable(completion, example)) is not None:
            return _scored(0.0, {}, {"reason": problem})
        known = compiled(self._words)
        true, excused = _reference(report, self._words)
        reading = read_facts(answer_text(completion), known)
        said = fact_set(reading, known)
        if not true:
            claims = [fact for fact in said if not quiet(fact, known)]
            if not claims:
                return _abstain("no facts to compare")
            return _scored(
                0.0, {"false_positives": _facts(claims, said, completion)}, {"reason": "no facts to agree with"}
            )
        result = compare(said, true, known, absent_weight=self.absent_weight)
        clashes = [each for each in inconsistencies(reading, said, known) if each[:3] not in excused]
        costs = self.contradiction_cost * len(result.contradictions) / max(1.0, result.weight)
        value = min(1.0, max(0.0, result.f1 - costs - self.inconsistency_cost * len(clashes)))
        detail = {"precision": result.precision, "recall": result.recall, "f1": result.f1}
        return _scored(value, _evidence(result, clashes, said, true, completion), detail)


@lru_cache(maxsize=4096)
def _reference(report: str, lexicon: str) -> tuple[FactSet, frozenset[tuple[str, str, str]]]:
    """The facts of a reference, and the inconsistencies that it has itself: a group shares them."""
    known = compiled(lexicon)
    reading: Reading = read_facts(report, known)
    facts = fact_set(reading, known)
    return facts, frozenset(each[:3] for each in inconsistencies(reading, facts, known))


def _abstain(reason: str) -> Score:
    silent = Score(value=None, status="abstain")
    return Score(value=None, status="abstain", parts=dict.fromkeys(_PARTS, silent), detail={"reason": reason})


def _scored(value: float, evidence: Mapping[str, Score], detail: Mapping[str, object]) -> Score:
    """Every score has the same parts, so that they are columns of one table."""
    return Score(value=value, parts={**dict.fromkeys(_PARTS, Score(value=0.0)), **evidence}, detail=detail)


def _evidence(
    result: Comparison, clashes: Sequence[Inconsistency], said: FactSet, true: FactSet, completion: Completion
) -> dict[str, Score]:
    return {
        "true_positives": _facts(
            [match.said for match in result.matches],
            said,
            completion,
            credit=[round(match.credit, 3) for match in result.matches],
        ),
        "false_positives": _facts(result.false_positives, said, completion),
        "misses": _part(result.misses, {"reference_spans": [true[fact].span for fact in result.misses]}),
        "contradictions": _facts(
            [each.said for each in result.contradictions],
            said,
            completion,
            against=[str(each.true) for each in result.contradictions],
        ),
        "inconsistencies": _part(
            clashes, {"spans": _shifted((span for each in clashes for span in each.spans), completion)}
        ),
    }


def _facts(found: Sequence[Fact], said: FactSet, completion: Completion, **more: object) -> Score:
    return _part(found, {"spans": _shifted((said[fact].span for fact in found), completion), **more})


def _shifted(spans: Iterable[Span], completion: Completion) -> list[Span]:
    """Spans in the answer as spans in the completion."""
    offset = completion.parsed.span[0]
    return [(start + offset, end + offset) for start, end in spans]


def _part(found: Sequence[object], more: Mapping[str, object]) -> Score:
    """How many there are; what they are and where they stand."""
    return Score(value=float(len(found)), detail={"facts": [str(each) for each in found], **more} if found else {})
