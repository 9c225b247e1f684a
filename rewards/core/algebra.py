"""Gives rewards their operators: sums and products (`compose.py`), clips and schedules (`gates.py`), a fingerprint."""

from __future__ import annotations

from groundrl.rewards.core import compose
from groundrl.rewards.core.fingerprint import fingerprint
from groundrl.rewards.core.gates import Clip, Scheduled
from groundrl.rewards.core.reward import Reward
from groundrl.rewards.core.schedules import Schedule


class _Operators:
    add = staticmethod(compose.add)
    multiply = staticmethod(compose.multiply)
    fingerprint = staticmethod(fingerprint)

    @staticmethod
    def clip(reward: Reward, lo: float, hi: float) -> Reward:
        return Clip(reward=reward, lo=lo, hi=hi)

    @staticmethod
    def scheduled(reward: Reward, weight: Schedule) -> Reward:
        return Scheduled(reward=reward, weight=weight)


Reward.algebra = _Operators()
