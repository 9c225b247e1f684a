"""What a cue reaches: ConText (Harkema et al., 2009), forward and backward scopes over the phrases of one sentence.

Rules beyond "to the end of the sentence or to a terminator":
- a list stays in scope; a comma does not end a forward scope.
- a new negation replaces an open scope; an uncertain cue replaces an open negation only after a separator ("no
  effusion, possible pneumonia", but "no opacity suspicious for pneumonia" denies both).
- a backward scope is the noun phrase, or the joined list, before the cue and its verb: it ends at an earlier verb or
  negation, and at a comma unless the list has its "and"/"or" after it. Such a comma is a splice ("no effusion,
  pneumonia cannot be excluded") and ends forward scopes too.
- a cue of both directions looks forward if a finding follows it in its item, else back; a negation that is the last
  word looks back ("pneumothorax: none").
- where several reach a finding: history and family leave it out, else absent, else uncertain.
"""

from __future__ import annotations

from collections.abc import Sequence

from groundrl.rewards.factuality.tokens import Hit, Kind

PRESENT, ABSENT, UNCERTAIN, DROPPED = "present", "absent", "uncertain", "dropped"

_STATUS = {"negated": ABSENT, "uncertain": UNCERTAIN, "historical": DROPPED, "family": DROPPED}
_CUES = {
    f"{kind}_{direction}": (status, direction)
    for kind, status in _STATUS.items()
    for direction in ("forward", "backward", "both")
}


class Scopes:
    """The status of each finding of a sentence, and the cue that denies it (an index into the hits, or -1)."""

    __slots__ = ("denied_by", "status")

    def __init__(self, hits: Sequence[Hit], end: int, joiners: frozenset[str]) -> None:
        """`hits` of one sentence; `end` is the token after its last one."""
        total = len(hits)
        self.denied_by = [-1] * total
        self.status = [PRESENT] * total
        if not any(hit.kind == Kind.CUE for hit in hits):
            return
        forward, backward = _directed(hits, end)
        back, splices = _backward(hits, backward, forward, joiners)
        reached = _forward(hits, forward, splices, self.denied_by)
        for index in range(total):
            both = (reached[index], back[index])
            if both != (PRESENT, PRESENT):
                self.status[index] = next(status for status in (DROPPED, ABSENT, UNCERTAIN) if status in both)


def _directed(hits: Sequence[Hit], end: int) -> tuple[dict[int, str], dict[int, str]]:
    """The cues that look forward and those that look back, with their statuses, by their index."""
    forward: dict[int, str] = {}
    backward: dict[int, str] = {}
    looking = {"forward": (forward,), "backward": (backward,), "both": (forward, backward)}
    cues = [(index, hit, *_CUES[hit.value]) for index, hit in enumerate(hits) if hit.value in _CUES]
    backs = {hit.start for _, hit, _, direction in cues if direction == "backward"}
    twofold = backs and {hit.start for _, hit, _, direction in cues if direction == "forward"} & backs
    follows = _finding_follows(hits) if twofold else []
    for index, hit, status, direction in cues:
        if hit.start in twofold:
            direction = direction if (direction == "forward") == follows[index] else ""
        elif direction == "forward" and status == ABSENT and _is_last(hits, index, end):
            direction = "backward"
        for one in looking.get(direction, ()):
            one[index] = status
    return forward, backward


def _is_last(hits: Sequence[Hit], index: int, end: int) -> bool:
    """Whether the sentence, or its part before a terminator, ends with this phrase."""
    place = hits[index].end
    return place == end or (
        index + 1 < len(hits) and hits[index + 1].kind == Kind.BREAK and hits[index + 1].start == place
    )


def _finding_follows(hits: Sequence[Hit]) -> list[bool]:
    """For each hit, whether a finding stands after it before the next separator, terminator or end."""
    follows = [False] * len(hits)
    found = False
    for index in range(len(hits) - 1, -1, -1):
        follows[index] = found
        if hits[index].kind <= Kind.ATTRIBUTE:
            found = True
        elif hits[index].kind in (Kind.ITEM, Kind.BREAK):
            found = False
    return follows


def _backward(
    hits: Sequence[Hit], cues: dict[int, str], forward: dict[int, str], joiners: frozenset[str]
) -> tuple[list[str], set[int]]:
    """What backward cues make of each hit, and the commas at which one of them ended."""
    back = [PRESENT] * len(hits)
    splices: set[int] = set()
    if not cues:
        return back, splices
    active, seen, joined = PRESENT, False, False
    for index in range(len(hits) - 1, -1, -1):
        hit = hits[index]
        if index in cues:
            active, seen, joined = cues[index], False, False
        elif active == PRESENT:
            continue
        elif hit.kind <= Kind.ATTRIBUTE:
            back[index], seen = active, True
        elif hit.kind == Kind.ITEM and hit.value in joiners:
            joined = joined or seen
        elif hit.kind == Kind.ITEM and hit.value == "," and seen and not joined:
            splices.add(index)
            active = PRESENT
        elif hit.kind == Kind.BREAK or (hit.kind == Kind.VERB and seen) or forward.get(index) == ABSENT:
            active = PRESENT
    return back, splices


def _forward(hits: Sequence[Hit], cues: dict[int, str], splices: set[int], denied_by: list[int]) -> list[str]:
    """What forward cues make of each hit; notes the negation that reaches it."""
    reached = [PRESENT] * len(hits)
    denying, doubted, dropped, parted = -1, False, False, False
    for index, hit in enumerate(hits):
        if hit.kind == Kind.BREAK or index in splices:
            denying, doubted, dropped = -1, False, False
        elif hit.kind == Kind.ITEM:
            parted = True
        elif index in cues:
            status = cues[index]
            if status == DROPPED:
                dropped = True
            elif status == ABSENT:
                denying, doubted = index, False
            else:
                doubted = True
                denying = -1 if parted else denying
            parted = False
        elif hit.kind <= Kind.ATTRIBUTE:
            parted = False
            denied_by[index] = denying
            reached[index] = DROPPED if dropped else ABSENT if denying >= 0 else UNCERTAIN if doubted else PRESENT
    return reached
