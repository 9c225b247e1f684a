"""The policy: a Hugging Face causal language model (text or Qwen-VL) with its tokenizer and image processor."""

from __future__ import annotations

import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from groundrl.rewards import DataError, Example, GroundRLWarning, as_messages
from groundrl.rollout.io.pictures import open_image
from groundrl.rollout.model.adapters import POLICY, Adapters
from groundrl.rollout.model.loading import (
    Precision,
    Quantization,
    enable_checkpointing,
    load_image_processor,
    load_model,
    quantization_config,
    save_weights,
)
from groundrl.rollout.model.private import cache_name, forward_arguments
from groundrl.rollout.model.prompts import Prompt, plain_text, with_images
from groundrl.rollout.model.vision import FeatureCache

KEPT_PROMPTS = 64


class Policy:
    """What samples and learns. `allowed [V]` marks the ids that may ever be sampled.

    Never allowed: the vision special tokens (an image token in an answer would break the next forward) and the ids
    of the embedding that the tokenizer does not have.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        image_processor: Any | None,
        *,
        autocast: bool = False,
        chat_template_kwargs: Mapping[str, object] | None = None,
    ) -> None:
        self.model = model
        self.adapters = Adapters(model)
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        self.autocast_enabled = autocast
        self.chat_template_kwargs = dict(chat_template_kwargs or {})
        self.version = 0
        self.features = FeatureCache()
        self._encoded: OrderedDict[int, tuple[Example, Prompt]] = OrderedDict()
        self._encoding = threading.Lock()  # SFT loads its next batch while a step goes on
        self.allowed = allowed_tokens(model.config, tokenizer)
        self.end_ids = end_token_ids(model, tokenizer)
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end_ids[0]
        if tokenizer.chat_template is None:
            warnings.warn(
                "the tokenizer has no chat template: prompts are given to the model as plain text",
                GroundRLWarning,
                stacklevel=2,
            )

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        dtype: Precision = "float32",
        init: Literal["pretrained", "random"] = "pretrained",
        seed: int = 0,
        quantize: Quantization | None = None,
        gradient_checkpointing: bool = False,
        chat_template_kwargs: Mapping[str, object] | None = None,
    ) -> Policy:
        """Load a Hugging Face folder or id; `init="random"` takes its architecture only.

        `dtype="bfloat16"` computes in bfloat16 with float32 weights and losses. `quantize="4bit"` stores the language
        model's matrices in 4 bits (then only an adapter can be trained). `gradient_checkpointing` keeps no activations
        inside the layers but computes them again in the backward pass.
        """
        from transformers import AutoConfig, AutoTokenizer

        if Path(path).exists() and not (Path(path) / "config.json").is_file():
            raise ValueError(f"{path} is not a checkpoint: it has no config.json; give a Hugging Face folder or id")
        try:
            config = AutoConfig.from_pretrained(path)
            tokenizer = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"{path} cannot be loaded as a Hugging Face checkpoint: {error}") from error
        vision = hasattr(config, "vision_config")
        if vision and not hasattr(config, "image_token_id"):
            raise ValueError(
                f"{path} has the vision architecture {config.model_type!r}; supported are the Qwen-VL models"
            )
        model = load_model(path, config, init=init, seed=seed, quantization=quantization_config(quantize, dtype))
        if gradient_checkpointing:
            enable_checkpointing(model)
        return cls(
            model,
            tokenizer,
            load_image_processor(path) if vision else None,
            autocast=dtype == "bfloat16",
            chat_template_kwargs=chat_template_kwargs,
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def autocast(self) -> torch.autocast:
        """The precision in which every forward of this policy runs, sampling and training alike."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast_enabled)

    @contextmanager
    def recomputing(self) -> Iterator[None]:
        """Inside, a forward with gradients computes its layers again in the backward pass, where that was asked for.

        transformers does so in training mode only, and RL is in evaluation mode: no dropout. So the layers themselves,
        not what they are made of, are in training mode here.
        """
        layers = [layer for layer in self.model.modules() if getattr(layer, "gradient_checkpointing", False)]
        before = [layer.training for layer in layers]
        for layer in layers:
            layer.training = torch.is_grad_enabled()
        try:
            yield
        finally:
            for layer, training in zip(layers, before, strict=True):
                layer.training = training

    def weights(self) -> Mapping[str, Tensor]:
        """The weights by the names of a plain model of this class, its adapter merged into them."""
        return self.adapters.merged(POLICY)

    @cached_property
    def forward_arguments(self) -> frozenset[str]:
        """The names that the model's forward takes."""
        return forward_arguments(self.model)

    @cached_property
    def cache_name(self) -> str | None:
        """What the model's forward, and its output, call what a forward leaves for the next one."""
        return cache_name(self.forward_arguments)

    @cached_property
    def has_mrope(self) -> bool:
        """Whether positions have three axes (time, height, width), as in Qwen-VL."""
        return hasattr(getattr(self.model, "model", None), "get_rope_index")

    @property
    def max_length(self) -> int:
        """The model's context in tokens (a million where the configuration does not say)."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 1_000_000)

    def encode(self, example: Example, *, reserve: int = 0) -> Prompt:
        """The prompt of an example with room for `reserve` more tokens, else a DataError that says what to do.

        The last few are kept: sampling and update ask for the same ones.
        """
        with self._encoding:
            if id(example) not in self._encoded:
                self._encoded[id(example)] = example, self._encode(example)  # holding the example keeps its id its own
                while len(self._encoded) > KEPT_PROMPTS:
                    self._encoded.popitem(last=False)
            prompt = self._encoded[id(example)][1]
        if len(prompt) + reserve > self.max_length:
            raise DataError(
                f"example {example.id!r}: {len(prompt)} prompt tokens and {reserve} for the answer exceed the model's "
                f"context of {self.max_length}; shorten the prompt, lower max_new_tokens or the image's resolution"
            )
        return prompt

    def _encode(self, example: Example) -> Prompt:
        images = [open_image(image, example.id) for image in example.images]
        if images and self.image_processor is None:
            raise DataError(f"example {example.id!r} has {len(images)} image(s), but the model reads text only")
        text = self._render(example)
        features = self.image_processor(images=images, return_tensors="pt") if images and self.image_processor else None
        if features is None:
            ids = self._tokenize(text)
            image_tokens = torch.zeros(len(ids), dtype=torch.bool)
            pixel_values = grid = None
        else:
            pixel_values, grid = features["pixel_values"], features["image_grid_thw"]
            ids = self._expand_images(text, grid, example.id)
            image_tokens = ids == self.model.config.image_token_id
        positions = self._positions(ids, image_tokens, grid)
        return Prompt(
            ids=ids, position_ids=positions, image_tokens=image_tokens, pixel_values=pixel_values, image_grid_thw=grid
        )

    def forget_prompts(self) -> None:
        """Encode every example anew: what makes prompts has changed."""
        with self._encoding:
            self._encoded.clear()

    def image_features(self, pixel_values: Tensor, image_grid_thw: Int[Tensor, "images 3"]) -> Any:
        """What the vision tower makes of each image, deepstack features included."""
        return self.model.model.get_image_features(pixel_values, image_grid_thw, return_dict=True)

    def encode_answer(self, text: str) -> list[int]:
        """The token ids of an answer with its end token: what SFT imitates."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*ids, self.end_ids[0]]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a completion without its end token; any other special token stays visible."""
        kept = ids[:-1] if ids and ids[-1] in self.end_ids else ids
        text: str = self.tokenizer.decode(kept, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def save(self, folder: Path) -> None:
        """Write a Hugging Face folder that plain `from_pretrained` loads, adapter merged; it must not exist yet."""
        if self.adapters.active is None:
            self.model.save_pretrained(folder)
        else:
            save_weights(self.model, self.weights(), folder)
        self.tokenizer.save_pretrained(folder)
        if self.image_processor is not None:
            self.image_processor.save_pretrained(folder)

    def _render(self, example: Example) -> str:
        turns = with_images(as_messages(example), len(example.images), example.id)
        if self.tokenizer.chat_template is None:
            return plain_text(turns)
        text: str = self.tokenizer.apply_chat_template(
            turns, tokenize=False, add_generation_prompt=True, **self.chat_template_kwargs
        )
        return text

    def _tokenize(self, text: str) -> Int[Tensor, "P"]:
        special = self.tokenizer.chat_template is None  # a template writes its own start token
        return torch.tensor(self.tokenizer(text, add_special_tokens=special)["input_ids"], dtype=torch.long)

    def _expand_images(self, text: str, grid: Int[Tensor, "images 3"], id: str) -> Int[Tensor, "P"]:
        ids = self._tokenize(text)
        image_token = self.model.config.image_token_id
        indices = (ids == image_token).nonzero()[:, 0].tolist()
        if len(indices) != len(grid):
            raise DataError(
                f"example {id!r}: the chat template made {len(indices)} image places for {len(grid)} images; "
                "a prompt must not contain the model's own image token"
            )
        counts = (grid.prod(dim=1) // self.model.config.vision_config.spatial_merge_size**2).tolist()
        repeats = torch.ones_like(ids)
        repeats[indices] = torch.tensor(counts)
        return ids.repeat_interleave(repeats)

    def _positions(
        self, ids: Int[Tensor, "P"], image_tokens: Bool[Tensor, "P"], grid: Int[Tensor, "images 3"] | None
    ) -> Int[Tensor, "axes P"]:
        if not self.has_mrope:
            return torch.arange(len(ids))[None]
        if grid is None:
            return torch.arange(len(ids)).expand(3, -1)
        positions, _ = self.model.model.get_rope_index(
            ids[None], mm_token_type_ids=image_tokens[None].int(), image_grid_thw=grid
        )
        result: Tensor = positions[:, 0]
        return result


def allowed_tokens(config: Any, tokenizer: Any) -> Bool[Tensor, "V"]:
    """Which ids of the model's vocabulary may be sampled."""
    allowed = torch.zeros(config.get_text_config().vocab_size, dtype=torch.bool)
    known = torch.tensor(sorted(tokenizer.get_vocab().values()))
    allowed[known[known < len(allowed)]] = True
    for name in ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"):
        if (token := getattr(config, name, None)) is not None:
            allowed[token] = False
    return allowed


def end_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end an answer, the tokenizer's own first."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    listed = configured if isinstance(configured, list) else [configured]
    ids = [token for token in (tokenizer.eos_token_id, *listed) if token is not None]
    if not ids:
        raise ValueError("neither the tokenizer nor generation_config.json names an end token (eos_token_id)")
    return tuple(dict.fromkeys(ids))
