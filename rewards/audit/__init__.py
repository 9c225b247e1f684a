"""What does a reward pay for answers that never look at the image? `audit(reward, examples)` says it before training.

Read `policy.py` first (what is tried, and when it is flagged), then `boxes.py`, `texts.py`, `labels.py`, `reports.py`
(the policies), `constant.py` and `search.py` (those fitted to the reward), `checks.py` (what a sound reward does).
"""

from groundrl.rewards.audit.report import AuditReport, Check, Offence, PolicyResult, Rung
from groundrl.rewards.audit.run import audit

__all__ = ["AuditReport", "Check", "Offence", "PolicyResult", "Rung", "audit"]
