"""How many characters of a completion's text each of its tokens wrote, by the tokenizer that a run kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class TokenSpans:
    """Token ids to stretches of text; `known` is false where there is no tokenizer to ask."""

    def __init__(self, tokenizer: Any | None) -> None:
        self.known = tokenizer is not None
        self._tokenizer = tokenizer
        self._cache: dict[int, str] = {}

    @classmethod
    def of_run(cls, folder: Path | None) -> TokenSpans:
        """By the tokenizer of any of the run's checkpoints; all stages have the same."""
        found = sorted(folder.glob("checkpoints/*/tokenizer.json")) if folder is not None else []
        if not found:
            return cls(None)
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_file(str(found[0])))

    def lengths(self, row: Mapping[str, Any]) -> list[int] | None:
        """The number of characters (UTF-16 units, as JavaScript counts) of each token, 0 for the end token."""
        if not self.known or not row.get("token_ids"):
            return None
        text = row["text"]
        pieces = [self._piece(token) for token in row["token_ids"]]
        if not "".join(pieces).startswith(text):  # a character spread over several tokens
            pieces = self._by_prefixes(row["token_ids"])
        lengths, left = [], _units(text)
        for piece in pieces:
            lengths.append(min(left, _units(piece)))
            left -= lengths[-1]
        return lengths if left == 0 else None

    def _piece(self, token: int) -> str:
        if token not in self._cache:
            assert self._tokenizer is not None
            self._cache[token] = self._tokenizer.decode([token], skip_special_tokens=True)
        return self._cache[token]

    def _by_prefixes(self, tokens: Sequence[int]) -> list[str]:
        assert self._tokenizer is not None
        pieces, before = [], ""
        for end in range(1, len(tokens) + 1):
            text = self._tokenizer.decode(list(tokens[:end]), skip_special_tokens=True)
            whole = text.rstrip("\ufffd")
            pieces.append(whole[len(before) :])
            before = whole if len(whole) >= len(before) else before
        return pieces


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
