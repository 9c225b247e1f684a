"""Replies on disk by what was asked, so that nothing is asked twice and a resumed run is told the same."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from groundrl.rewards.core.reward import GroundRLWarning

_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the endpoint replied, as it came, with the tokens that the server says it used (0 where it does not say)."""

    text: str
    finish_reason: str = "stop"
    prompt_tokens: int = 0
    completion_tokens: int = 0


def key_of(body: Mapping[str, object]) -> str:
    """SHA-256 of the body of a request: model, rendered prompt and parameters. The address is not among them."""
    return hashlib.sha256(json.dumps([_VERSION, body], sort_keys=True).encode()).hexdigest()


class Cache:
    """A folder with one small JSON file a reply, each with its own checksum."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: str) -> Reply | None:
        """The reply to this request; None where there is none, or, with a warning, where its file is damaged."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            content = json.loads(data)
            reply = Reply(**content["reply"])
            if content["checksum"] != _checksum(key, reply):
                raise ValueError("its checksum is not that of its content")
        except (ValueError, KeyError, TypeError, RecursionError) as problem:
            message = f"the cache file {path} is damaged ({problem}); the endpoint is asked again"
            warnings.warn(message, GroundRLWarning, stacklevel=2)
            return None
        return reply

    def put(self, key: str, reply: Reply) -> None:
        """Keep a reply: under a name of this writer's own, then renamed, so that no process ever reads half of it."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"reply": asdict(reply), "checksum": _checksum(key, reply)})
        handle, partial = tempfile.mkstemp(dir=path.parent, prefix=f".{key[:16]}.", suffix=".partial")
        with os.fdopen(handle, "w") as file:
            file.write(content)
        os.replace(partial, path)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def _checksum(key: str, reply: Reply) -> str:
    return hashlib.sha256(json.dumps([key, asdict(reply)], sort_keys=True).encode()).hexdigest()
