"""A reward that asks another model. Start with `reward.py`; `template.py` is what it asks, `parsers.py` how it is read.

How it asks (retries, deadline, budgets, cache) is `groundrl.rewards.http`.
"""

from groundrl.rewards.judge.parsers import score, verdict
from groundrl.rewards.judge.reward import Judge

__all__ = ["Judge", "score", "verdict"]
