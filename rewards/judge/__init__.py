"""A reward that asks another model. Start with `reward.py`; `template.py` is what it asks, `parsers.py` how it is read.

`client.py` asks (retries, deadline), `wire.py` is one request, `ledger.py` counts and limits, `cache.py` remembers.
"""

from groundrl.rewards.judge.parsers import score, verdict
from groundrl.rewards.judge.reward import Judge

__all__ = ["Judge", "score", "verdict"]
