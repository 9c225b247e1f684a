"""One short name for everything on which a reward's scores depend: source, parameters, versions."""

from __future__ import annotations

import hashlib
import inspect
import marshal
import sys
from functools import lru_cache
from pathlib import Path
from types import FunctionType

import numpy as np

from groundrl.rewards.boxes import formats, geometry, parsing, reading, spaces, writing
from groundrl.rewards.core import glossary
from groundrl.rewards.core.function import FunctionReward
from groundrl.rewards.core.reward import Reward, parts_of

# a reward that has a folder to itself, and the folders whose files are its source
WHOLE_FOLDERS = {"groundrl.rewards.factuality.": ("factuality",), "groundrl.rewards.judge.": ("judge", "http")}


def fingerprint(reward: Reward) -> str:
    """16 hex digits of SHA-256 over the expression, the source behind every part, and numpy's version."""
    digest = hashlib.sha256(f"{reward!r} {reward.range} numpy {np.__version__}".encode())
    for module in (glossary, parsing, reading, writing, formats, geometry, spaces):
        digest.update(_source(module.__name__))
    for part in parts_of(reward):
        own = _function_source(part.function) if isinstance(part, FunctionReward) else _source(type(part).__module__)
        digest.update(own)
        for further in part.behind():
            digest.update(further)
    return digest.hexdigest()[:16]


@lru_cache
def _source(module: str) -> bytes:
    """A module's source; a class made in a notebook or a prompt has no file, and its module's name must do.

    A reward of this package that has a folder to itself is all of its files.
    """
    found = sys.modules[module]
    file = getattr(found, "__file__", None)
    if file is None:
        return module.encode()
    for start, folders in WHOLE_FOLDERS.items():
        if module.startswith(start):
            room = Path(file).parents[1]
            return b"".join(path.read_bytes() for each in folders for path in sorted((room / each).glob("*.py")))
    return inspect.getsource(found).encode()


def _function_source(function: object) -> bytes:
    try:
        return inspect.getsource(function).encode()  # type: ignore[arg-type]  # any callable may be a reward
    except (OSError, TypeError):  # typed into a bare prompt, or a callable object: its compiled code or name must do
        return marshal.dumps(function.__code__) if isinstance(function, FunctionType) else repr(type(function)).encode()
