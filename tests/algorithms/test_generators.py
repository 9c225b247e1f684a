"""The shared generators go through JSON and come back."""

import json
import random

import numpy as np
import torch

from groundrl.algorithms.generators import generator_state, set_generator_state, untouched_generators


def draws() -> tuple[float, ...]:
    return random.gauss(), random.random(), np.random.normal(), np.random.random(), *torch.randn(3).tolist()


def test_they_stand_where_they_stood():
    draws()  # gauss and normal keep a second number for the next call
    state = json.loads(json.dumps(generator_state()))
    expected = [draws() for _ in range(3)]
    set_generator_state(state)
    assert [draws() for _ in range(3)] == expected


def test_what_happens_inside_touches_none_of_them():
    state = generator_state()
    expected = draws()
    set_generator_state(state)
    with untouched_generators():
        draws()
    assert draws() == expected
