"""What was sampled, wherever it was recorded: a run of ours, TRL's completions, verl's rollouts, plain JSON lines.

`open_log` turns each into a `Log`: a table like a run's rollouts, and the examples behind it.
"""

from groundrl.experiments.logs.log import Log, Record
from groundrl.experiments.logs.opening import foreign_examples, log_reward, open_log

__all__ = ["Log", "Record", "foreign_examples", "log_reward", "open_log"]
