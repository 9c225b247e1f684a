"""What a sampler, an adapter and an image's size may be told: each key once, with its default, bound and meaning.

The configuration's classes are made of these, and so is the page of all keys. No torch: a configuration is checked
without it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Update = Literal["auto", "padded", "packed", "prefix"]


class Settings(BaseModel):
    """Frozen, given by keywords; an unknown key and a value out of its bound are refused (a `ValueError`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)


MaxNewTokens = Annotated[int, Field(ge=1, description="The longest answer in tokens, its end token included.")]
Temperature = Annotated[
    float,
    Field(ge=0.0, allow_inf_nan=False, description="Divides the logits; 0 is greedy, with log-probs of temperature 1."),
]


class Sampling(Settings):
    """How answers are drawn. With `top_k`, `top_p` and `min_p` log-probs are of what is left."""

    max_new_tokens: MaxNewTokens = 256
    temperature: Temperature = 1.0
    top_k: int | None = Field(default=None, ge=1, description="Draw among so many of the likeliest tokens; null: all.")
    top_p: float = Field(
        default=1.0, gt=0.0, le=1.0, description="Draw from the smallest set of tokens that holds this probability."
    )
    min_p: float = Field(
        default=0.0, ge=0.0, le=1.0, description="Draw no token below this multiple of the likeliest one's probability."
    )
    stop: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(
        default=(), description="An answer ends where its text holds one of these strings, which it keeps."
    )
    stop_tokens: tuple[int, ...] = Field(
        default=(), description="Ids of tokens that end an answer, beside the model's own end tokens."
    )

    @property
    def truncates(self) -> bool:
        """Whether tokens that the policy could write are cut off, so that it is not the policy that is sampled."""
        return self.top_k is not None or self.top_p < 1.0 or self.min_p > 0.0


class LoraSettings(Settings):
    """Low-rank updates `W + alpha / rank * B A` (arXiv 2106.09685); B is zero at first, so that nothing has changed."""

    rank: int = Field(default=16, ge=1, le=4096, description="The rank of each update.")
    alpha: float = Field(default=32.0, gt=0.0, description="Scales the update, by `alpha / rank`.")
    targets: str | tuple[str, ...] = Field(
        default="language",
        description="`language`: every linear layer of the language model but its head; `all`: those of the vision "
        "tower too; or names of modules, such as `q_proj`.",
    )
    modules_to_save: tuple[str, ...] = Field(default=(), description="Modules trained whole, such as `lm_head`.")
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0, description="In supervised stages; RL has none.")


class Resolution(Settings):
    """The range of an image's pixels as the model sees it; both sides are rounded to a multiple of the merged patch.

    In Qwen3-VL one token stands for 32 x 32 pixels, so `max_pixels` over 1024 is the most tokens of an image.
    """

    min_pixels: int = Field(ge=1, description="A smaller image is enlarged to so many pixels.")
    max_pixels: int = Field(ge=1, description="A larger image is shrunk to so many pixels.")

    @model_validator(mode="after")
    def _ordered(self) -> Resolution:
        if self.min_pixels > self.max_pixels:
            raise ValueError(f"min_pixels {self.min_pixels} is above max_pixels {self.max_pixels}")
        return self
