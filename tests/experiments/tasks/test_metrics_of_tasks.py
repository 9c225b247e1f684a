"""Every metric that a task names is one that `groundrl eval` knows."""

import pytest

from groundrl.experiments.metrics import METRICS
from groundrl.experiments.tasks import TASKS


@pytest.mark.parametrize("name", TASKS)
def test_the_metrics_of_a_task_are_defined(name):
    assert set(TASKS[name].metrics) <= set(METRICS)
