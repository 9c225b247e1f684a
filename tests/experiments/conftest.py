"""A small run that several tests look at: two steps of SFT on rendered cells, two of GRPO on real crops."""

from typing import Any

import pytest

from groundrl.experiments import Run, train

SMALL: dict[str, Any] = {
    "data.test": "nuclei/test",
    "stages.sft.steps": 2,
    "stages.sft.batch_size": 4,
    "stages.rl.steps": 2,
    "stages.rl.prompts_per_step": 2,
    "stages.rl.group_size": 4,
    "stages.rl.max_new_tokens": 24,
    "evaluation.samples_per_example": 1,
    "evaluation.max_new_tokens": 8,
}


@pytest.fixture(scope="session")
def small() -> dict[str, Any]:
    """Overrides that make the quickstart a matter of seconds; tests of evaluation shorten the test set themselves."""
    return dict(SMALL)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Evaluated within the RL stage too, which changes nothing else: it is compared with runs that are not."""
    return train(
        "quickstart", overrides=SMALL | {"evaluation.every": 1}, runs=tmp_path_factory.mktemp("runs"), progress=False
    )
