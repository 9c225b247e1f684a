"""What a person sees while a run goes on: a bar in a terminal, a line every ten steps in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

from tqdm import tqdm

LINE_EVERY = 10  # steps


class Progress:
    """One bar a stage. `show=False` prints nothing."""

    def __init__(self, *, show: bool = True) -> None:
        self.show = show
        self.bar: tqdm[None] | None = None
        self.stage, self.steps, self.start = "", 0, 0.0

    def begin(self, stage: str, steps: int) -> None:
        """A stage of so many steps begins."""
        self.end()
        self.stage, self.steps, self.start = stage, steps, time.perf_counter()
        if self.show and sys.stderr.isatty():
            self.bar = tqdm(total=steps, desc=stage, unit="step", dynamic_ncols=True)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """The stage has reached `step`."""
        shown = {name: f"{value:.3f}" for name, value in values.items()}
        if self.bar is not None:
            self.bar.update(step - self.bar.n)
            self.bar.set_postfix(shown)
        elif self.show and (step % LINE_EVERY == 0 or step == self.steps):
            seconds = time.perf_counter() - self.start
            text = "  ".join(f"{name} {value}" for name, value in shown.items())
            print(f"{self.stage:>6} {step:5d}/{self.steps}  {text}  ({seconds:.0f} s)", flush=True)

    def say(self, text: str) -> None:
        """A line between the stages."""
        self.end()
        if self.show:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """A line within a stage, above the bar where there is one."""
        if self.bar is not None:
            self.bar.write(text, file=sys.stdout)
        elif self.show:
            print(text, flush=True)

    def end(self) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
