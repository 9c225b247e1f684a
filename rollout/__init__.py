"""How are answers sampled? The policy, its log-probs, and what a run leaves on disk.

Each name is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groundrl.rollout.forward.logprobs import CompletionLogprobs
    from groundrl.rollout.model.loader import Loader
    from groundrl.rollout.model.policy import Policy
    from groundrl.rollout.sampling.endpoint import EndpointEngine
    from groundrl.rollout.sampling.engine import Engine
    from groundrl.rollout.sampling.local import LocalEngine
    from groundrl.rollout.settings import LoraSettings, Resolution, Sampling

_HOME = {
    "CompletionLogprobs": "forward.logprobs",
    "EndpointEngine": "sampling.endpoint",
    "Engine": "sampling.engine",
    "Loader": "model.loader",
    "LocalEngine": "sampling.local",
    "LoraSettings": "settings",
    "Policy": "model.policy",
    "Resolution": "settings",
    "Sampling": "settings",
}
__all__ = [
    "CompletionLogprobs",
    "EndpointEngine",
    "Engine",
    "Loader",
    "LocalEngine",
    "LoraSettings",
    "Policy",
    "Resolution",
    "Sampling",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
