"""Examples in a fixed order, encoded for the policy; a faulty one stops the run or is skipped and listed."""

from __future__ import annotations

from typing import Literal

from groundrl.rewards import DataError, Example, ExampleSource
from groundrl.rollout.model.policy import Policy
from groundrl.rollout.model.prompts import Prompt


class Loader:
    """Encoded examples by index. `skipped` maps the index of each example left out to the reason.

    Behind each prompt the model's context has room for `reserve` tokens, or with `answers` for the gold answer.
    """

    def __init__(
        self,
        policy: Policy,
        source: ExampleSource,
        *,
        reserve: int = 0,
        answers: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
    ) -> None:
        if len(source) == 0:
            raise ValueError("the data set has no examples")
        self.policy = policy
        self.source = source
        self.reserve = reserve
        self.answers = answers
        self.on_error = on_error
        self.skipped: dict[int, str] = {}

    def get(self, index: int) -> tuple[Example, Prompt] | None:
        """The example at `index`, or None where it is faulty and faults are skipped."""
        try:
            example = self.source[index]
            return example, self.policy.encode(example, reserve=self._room(example))
        except DataError as error:
            if self.on_error == "raise":
                raise
            self.skipped[index] = str(error)
            return None

    def _room(self, example: Example) -> int:
        """Tokens kept free behind the prompt: `reserve`, or the gold answer's where that is what is needed."""
        if not self.answers:
            return self.reserve
        if example.answer is None:
            raise DataError(f"example {example.id!r} has no `answer`, which SFT imitates")
        return len(self.policy.encode_answer(example.answer))

    def __getitem__(self, index: int) -> tuple[Example, Prompt]:
        """The example at `index`, or the next one that is sound."""
        for offset in range(len(self.source)):
            loaded = self.get((index + offset) % len(self.source))
            if loaded is not None:
                return loaded
        first = next(iter(self.skipped.values()))
        raise ValueError(f"none of the {len(self.source)} examples can be used; the first fault: {first}")
