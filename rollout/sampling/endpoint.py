"""A model behind an OpenAI-compatible endpoint: images as data URLs; what gets no reply is a failure, never a 0."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from groundrl.rewards import Completion, DataError, Example, Group, ImageRef, as_messages
from groundrl.rewards.http.cache import Reply, key_of
from groundrl.rewards.http.client import Client
from groundrl.rewards.http.ledger import Ledger, Limits
from groundrl.rewards.http.wire import Endpoint
from groundrl.rollout.io.pictures import open_image
from groundrl.rollout.model.prompts import with_images
from groundrl.rollout.settings import Sampling

TYPES = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))  # sent as they are; others become PNG
DAY = 86400.0


class EndpointEngine:
    """Asks `base_url` (up to and with `/v1`) for `model`; `api_key_env` names the environment variable with the key.

    `concurrency` requests are under way at once, each for `timeout` seconds at most and sent again up to `retries`
    times. `extra` adds fields to a request's body (None takes one out: `{"seed": None}`). After `generate`, `failures`
    says why an example has no group. Tokens and log-probs are not known. Noise is the server's: the seed that is sent
    belongs to the example and the completion, if the server heeds it.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str,
        api_key_env: str | None = None,
        concurrency: int = 8,
        timeout: float = 120.0,
        retries: int = 4,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        self.policy = None
        self.model = model
        self.concurrency = concurrency
        self.extra = dict(extra or {})
        self.failures: dict[int, str] = {}
        self.client = Client(
            endpoint=Endpoint(asks="model", base_url=base_url, api_key_env=api_key_env),
            ledger=Ledger(),
            cache=None,
            limits=Limits(),
            retries=retries,
            timeout=timeout,
        )

    def sync(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Refused: the weights are the server's."""
        raise ValueError("a model behind an endpoint can be evaluated, not trained")

    def generate(
        self, examples: Sequence[Example], *, group_size: int, sampling: Sampling, seed_keys: Sequence[str]
    ) -> Iterator[Group]:
        """Yield the group of each example of which every completion came; the others stand in `failures`."""
        if sampling.min_p > 0 or sampling.stop_tokens:
            raise ValueError("an endpoint knows neither min_p nor stop_tokens")
        self.failures = {}
        bodies = {
            (k, g): self._body(example, sampling, key=f"{seed_keys[k]}/{g}")
            for k, example in enumerate(examples)
            for g in range(group_size)
        }
        asked = {f"{k}/{g}": body for (k, g), body in bodies.items()}
        replies = self.client.ask_all(asked, concurrency=self.concurrency, deadline=DAY)
        for k, example in enumerate(examples):
            found = [replies[f"{k}/{g}"] for g in range(group_size)]
            faults = [reply for reply in found if isinstance(reply, str)]
            if faults:
                self.failures[k] = faults[0]
                continue
            completions = tuple(_completion(reply, example) for reply in found if isinstance(reply, Reply))
            yield Group(example=example, completions=completions, index=k, seed_key=seed_keys[k])

    def _body(self, example: Example, sampling: Sampling, *, key: str) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self.model,
            "messages": chat(example),
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": int(key_of({"seed": key})[:7], 16),
        }
        body |= {"top_p": sampling.top_p} if sampling.top_p < 1.0 else {}
        body |= {"top_k": sampling.top_k} if sampling.top_k is not None else {}
        body |= {"stop": list(sampling.stop)} if sampling.stop else {}
        return {name: value for name, value in (body | self.extra).items() if value is not None}


def chat(example: Example) -> list[dict[str, Any]]:
    """The example's turns as the endpoint takes them, images in their places as data URLs."""
    links = iter([data_url(image, example.id) for image in example.images])
    turns = with_images(as_messages(example), len(example.images), example.id)
    slots = sum(
        part["type"] == "image" for turn in turns if isinstance(turn["content"], list) for part in turn["content"]
    )
    if slots != len(example.images):
        raise DataError(f"example {example.id!r} has {len(example.images)} image(s) but {slots} places for them")
    return [
        turn
        if isinstance(turn["content"], str)
        else {
            "role": turn["role"],
            "content": [
                {"type": "image_url", "image_url": {"url": next(links)}} if part["type"] == "image" else dict(part)
                for part in turn["content"]
            ],
        }
        for turn in turns
    ]


def data_url(image: ImageRef, example_id: str) -> str:
    """PNG and JPEG as they are; any other format as PNG, of the same pixels. DataError for what is no image."""
    opened = open_image(image, example_id)
    data = image.source.read_bytes() if isinstance(image.source, Path) else image.source
    kind = next((kind for magic, kind in TYPES if data.startswith(magic)), None)
    if kind is None:
        buffer = io.BytesIO()
        opened.save(buffer, format="png")
        data, kind = buffer.getvalue(), "image/png"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _completion(reply: Reply, example: Example) -> Completion:
    return Completion(
        text=reply.text,
        finish_reason="length" if reply.finish_reason == "length" else "stop",
        box_space=example.box_space,
    )
