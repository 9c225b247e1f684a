"""What was sampled, wherever it was recorded: a run of ours, TRL's completions, verl's rollouts, plain JSON lines.

`open_log` turns each into a `Log`: a table like a run's rollouts, and the examples behind it.
"""

from groundrl.experiments.analysis.open_log import log_reward, logged_examples, open_log
from groundrl.experiments.rescoring.log import Log, Record

__all__ = ["Log", "Record", "log_reward", "logged_examples", "open_log"]
