"""Keyed randomness and the bounds of what can be asked of an engine."""

import numpy as np
import pytest
from scipy import stats

from groundrl.rollout.sampling.engine import keyed_uniforms, seed_key
from groundrl.rollout.settings import Sampling

KEY = seed_key(seed=0, stream="rollout", stage="rl", step=3, prompt=5)


def test_noise_is_pinned():
    """Another generator or another key format would make every recorded run irreproducible: notice it."""
    assert KEY == "0/rollout/rl/3/5"
    assert keyed_uniforms(KEY, 2, 3).tolist() == [0.19524463243322998, 0.2684046823082119, 0.6526933761924681]


def test_more_tokens_continue_the_same_noise():
    assert np.array_equal(keyed_uniforms(KEY, 0, 10)[:4], keyed_uniforms(KEY, 0, 4))


def test_every_part_of_the_key_counts():
    base = {"seed": 0, "stream": "rollout", "stage": "rl", "step": 3, "prompt": 5}
    other = {"seed": 1, "stream": "evaluation", "stage": "rl2", "step": 4, "prompt": 6}
    keys = [base, *(base | {name: value} for name, value in other.items())]
    draws = {tuple(keyed_uniforms(seed_key(**key), 0, 2)) for key in keys}
    draws.add(tuple(keyed_uniforms(KEY, 1, 2)))
    assert len(draws) == 7


def test_noise_is_uniform_over_prompts_and_completions():
    """4,000 streams of two tokens each: uniform, and the first says nothing of the second."""
    draws = np.stack([keyed_uniforms(f"0/rollout/rl/0/{p}", g, 2) for p in range(500) for g in range(8)])
    assert stats.kstest(draws.flatten(), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.05


@pytest.mark.parametrize("temperature", [-0.1, float("nan"), float("inf")])
def test_a_temperature_out_of_bounds_is_refused(temperature):
    with pytest.raises(ValueError, match=r"temperature\n.*(finite number|greater than or equal to 0)"):
        Sampling(temperature=temperature)


def test_at_least_one_token_is_sampled():
    with pytest.raises(ValueError, match=r"max_new_tokens\n.*greater than or equal to 1"):
        Sampling(max_new_tokens=0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"top_k": 0}, "top_k\n.*greater than or equal to 1"),
        ({"top_p": 0.0}, "top_p\n.*greater than 0"),
        ({"top_p": 1.1}, "top_p\n.*less than or equal to 1"),
        ({"min_p": -0.1}, "min_p\n.*greater than or equal to 0"),
        ({"min_p": float("nan")}, "min_p\n"),
        ({"stop": ("a", "")}, "stop.1\n.*at least 1 character"),
    ],
)
def test_other_settings_out_of_bounds_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**wrong)
