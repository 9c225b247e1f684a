"""The words (`glossary.py`, read first), what a reward is (`reward.py`) and the algebra of rewards."""

from groundrl.rewards.core import algebra as algebra
