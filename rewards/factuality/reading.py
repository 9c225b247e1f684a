"""What rewards that read facts share: the text of an answer, and what their scores depend on."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from groundrl.rewards.core.glossary import Completion
from groundrl.rewards.factuality import compare, facts, knowledge, lexicon, scopes, tokens

_RULES = (compare, facts, knowledge, lexicon, scopes, tokens)


def answer_text(completion: Completion) -> str:
    """The answer with blanks for its boxes, so that a span in it is one in the answer."""
    text = completion.answer or ""
    pieces, end = [], 0
    for start, stop in completion.parsed_boxes.spans:
        pieces += [text[end:start], " " * (stop - start)]
        end = stop
    return "".join([*pieces, text[end:]])


def rules(words: str) -> Iterator[bytes]:
    """The merged words and the source of the rules, for a fingerprint."""
    yield words.encode()
    for module in _RULES:
        yield inspect.getsource(module).encode()
