"""Schedules of the learning rate, by hand."""

import math

import pytest

from groundrl.algorithms.schedules import SCHEDULES


def test_cosine():
    """10 steps, 2 of warm-up: 1/2, 1, then (1 + cos(pi k / 8)) / 2 for k = 0, 1, ... 7, and 0 from there on."""
    factors = [SCHEDULES["cosine"](step, steps=10, warmup=2) for step in range(12)]
    assert factors[:3] == [0.5, 1.0, 1.0]
    assert factors[6] == pytest.approx(0.5)  # k = 4: half-way
    assert factors[9] == pytest.approx((1 + math.cos(math.pi * 7 / 8)) / 2)
    assert factors[10:] == [0.0, 0.0]


def test_linear():
    """10 steps, 2 of warm-up: then 1, 7/8, ... 1/8, and 0 from there on."""
    factors = [SCHEDULES["linear"](step, steps=10, warmup=2) for step in range(12)]
    assert factors == [0.5, 1.0, *(k / 8 for k in range(8, 0, -1)), 0.0, 0.0]


def test_constant():
    assert [SCHEDULES["constant"](step, steps=4, warmup=2) for step in range(6)] == [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]
