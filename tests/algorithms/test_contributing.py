"""CONTRIBUTING's example of a new estimator is what it says: one small file and one line of the configuration."""

import re
from pathlib import Path

import torch

from groundrl.algorithms.advantages import ADVANTAGES
from groundrl.experiments.config.load import load_config

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()


def test_the_example_of_an_estimator_works(make_window, monkeypatch):
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    assert len([line for line in code.splitlines() if line.strip()]) < 15
    names: dict[str, object] = {}
    exec(code, names)
    (name,) = re.findall(r"`stages\.rl\.advantage=(\w+)`", TEXT)
    monkeypatch.setitem(ADVANTAGES, name, names[name])
    assert load_config("quickstart", {"stages.rl.advantage": name})[0].stages[1].advantage == name
    window = make_window([[1.0, 0.0, None], [0.5, 0.5, 0.5]], lengths=[1, 2, 3, 1, 2, 3])
    torch.testing.assert_close(ADVANTAGES[name](window), ADVANTAGES["dr_grpo"](window))
