"""The parts of the configuration that say what a stage does: its data, what it trains, how it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from groundrl.algorithms.schema import ObjectiveSettings, RLKeys, SFTKeys, StageKeys
from groundrl.rollout.model.parts import check_parts
from groundrl.rollout.settings import LoraSettings, Resolution, Sampling, Settings

if TYPE_CHECKING:
    from groundrl.algorithms.settings import RLSettings, SFTSettings

Source = str | dict[str, Any]
NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"  # becomes a folder's name
Seed = Annotated[int, Field(ge=0, lt=2**63, description="All that is drawn follows from it.")]


class Part(Settings):
    """One source of a mixture; its share of the draws is its weight over the sum of all."""

    data: Source = Field(description="As `data.test`.")
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False, description="Its draws, beside those of others.")


def _kind(value: Any) -> str:
    """So that a fault in one of the three is not told as three faults."""
    if isinstance(value, str):
        return "<text>"
    return "<mapping>" if isinstance(value, dict) else "<mixture>"


Training = Annotated[
    Annotated[str, Tag("<text>")]
    | Annotated[dict[str, Any], Tag("<mapping>")]
    | Annotated[tuple[Part, ...], Field(min_length=1), Tag("<mixture>")],
    Discriminator(_kind),
]


class DataConfig(Settings):
    """Where examples come from: a shipped name, a .jsonl path, or a mapping such as `{read: medqa, path: ...}`."""

    train: Training | None = Field(
        default=None,
        description="For each stage without its own: one source, or a mixture such as `[{data: ..., weight: 2}, ...]`.",
    )
    validation: Source | None = Field(
        default=None, description="For evaluations within a stage and the loss there; null: those are on `test`."
    )
    test: Source | None = Field(default=None, description="For the evaluation after each stage; null: there is none.")
    on_error: Literal["raise", "skip"] = Field(
        default="raise", description="A faulty example: stop the run, or leave the example out."
    )


class StageData(Settings):
    """A stage's own training data."""

    train: Training = Field(description="One source, or a mixture, as `data.train`.")


class Stage(StageKeys):
    """What every stage has."""

    name: str = Field(pattern=NAME, description="Of its folders and curves; `stages.NAME.KEY` overrides a key.")
    data: StageData | None = Field(default=None, description="The stage's own training data; null: `data.train`.")
    resolution: Resolution | None = Field(
        default=None,
        description="How large the model sees an image; null: as in the stage before, or in its own folder.",
    )
    freeze: tuple[str, ...] = Field(
        default=(),
        description="What does not learn in this stage: `vision`, `merger`, `language`, `embeddings`, `layers.0-11`.",
    )
    lora: LoraSettings | Literal["off"] | None = Field(
        default=None, description="In place of `model.lora`; `off`: all weights learn."
    )

    @field_validator("lora", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        return "off" if value is False else value  # YAML 1.1 reads off as false

    @field_validator("freeze")
    @classmethod
    def _parts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        check_parts(value)
        return value

    def _keys(self, kind: type[Settings]) -> dict[str, Any]:
        """The values of those keys that come from `kind`, a base of this class."""
        return {name: getattr(self, name) for name in kind.model_fields}


class SFTStage(SFTKeys, Stage):
    """Supervised fine-tuning on gold answers."""

    kind: Literal["sft"] = Field(description="What the stage does.")

    def settings(self, seed: int) -> SFTSettings:
        """What the trainer is given."""
        from groundrl.algorithms.settings import SFTSettings

        return SFTSettings(seed=seed, **self._keys(SFTKeys))


class RLStage(Sampling, ObjectiveSettings, RLKeys, Stage):
    """Reinforcement learning from the run's reward."""

    kind: Literal["rl"] = Field(description="What the stage does.")

    @model_validator(mode="after")
    def _agree(self, info: Any) -> RLStage:  # pydantic's ValidationInfo, a protocol that cannot be checked at run time
        if not (info.context or {}).get("recorded"):
            from groundrl.algorithms.settings import check_together

            check_together(self, self, self)
        return self

    def settings(self, seed: int) -> RLSettings:
        """What the loop is given."""
        from groundrl.algorithms.settings import RLSettings

        return RLSettings(
            name=self.name,
            seed=seed,
            sampling=Sampling(**self._keys(Sampling)),
            clipping=ObjectiveSettings(**self._keys(ObjectiveSettings)),
            **self._keys(RLKeys),
        )
