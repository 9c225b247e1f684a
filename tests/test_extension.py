"""CONTRIBUTING's table: each kind of thing is added as it says and used as its last column says.

What a file's line would add is registered here; what reads it is what a run or an evaluation reads.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from groundrl.algorithms.advantages import ADVANTAGES, estimator
from groundrl.algorithms.objectives import OBJECTIVES
from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.rewards import build_reward
from groundrl.experiments.data.columns import column_map
from groundrl.experiments.evals.config import EvalConfig
from groundrl.experiments.metrics import METRICS
from groundrl.experiments.metrics.metric import mean_of
from groundrl.experiments.tasks import TASKS
from groundrl.rewards import Score, expression
from groundrl.rewards.boxes.formats import FORMATS, BoxFormat, box_format, listed
from groundrl.rollout.sampling import engines

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| ([a-z ]+) \| (.*`.*) \| `(.*)` \|$", re.MULTILINE)
ROWS = {kind: (files, yaml.safe_load(use)) for kind, files, use in ROW.findall((ROOT / "CONTRIBUTING.md").read_text())}
KINDS = {"advantage", "objective", "reward", "task", "metric", "data map", "box format", "engine"}


def use(kind: str):
    """What the last column sets."""
    ((key, value),) = ROWS[kind][1].items()
    return key, value


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_at_most_two_files(kind):
    paths = re.findall(r"`([\w/]+\.(?:py|yaml))`", ROWS[kind][0])
    assert 1 <= len(paths) <= 2
    for path in paths:
        assert (ROOT / path).parent.is_dir() if Path(path).stem == "NAME" else (ROOT / path).is_file()
    assert set(ROWS) == KINDS


@pytest.mark.parametrize(("kind", "registry"), [("advantage", ADVANTAGES), ("objective", OBJECTIVES)])
def test_an_algorithm(kind, registry, monkeypatch):
    key, name = use(kind)
    with pytest.raises(ValueError, match="mine"):
        load_config("quickstart", {f"stages.rl.{key}": name})

    @estimator()
    def mine(window):
        return window.rewards_PG

    monkeypatch.setitem(registry, name, mine if kind == "advantage" else OBJECTIVES["grpo"])
    assert getattr(load_config("quickstart", {f"stages.rl.{key}": name})[0].stages[1], key) == name


def test_a_reward(monkeypatch):
    key, value = use("reward")

    @dataclass(frozen=True, repr=False)
    class Mine(expression.REWARDS["Format"]):
        def score(self, completion, example):
            return Score(value=0.5)

    config, base = load_config("quickstart", {key: value})
    with pytest.raises(ValueError, match="Mine"):
        build_reward(config, base)
    monkeypatch.setitem(expression.CALLABLE, "Mine", Mine)
    assert "Mine" in repr(build_reward(config, base))


@pytest.mark.parametrize(
    ("kind", "registry", "entry"),
    [
        ("task", TASKS, replace(TASKS["text_qa"], name="mine")),
        ("metric", METRICS, mean_of(lambda completion, example: 1.0, "one")),
    ],
)
def test_what_an_evaluation_names(kind, registry, entry, monkeypatch):
    key, value = use(kind)
    content = {"name": "own", "data": [{"name": "nuclei", "data": "nuclei/test", key: value}]}
    with pytest.raises(ValueError, match=f"there is no {kind} 'mine'"):
        EvalConfig.model_validate(content)
    monkeypatch.setitem(registry, "mine", entry)
    assert EvalConfig.model_validate(content).data[0].name == "nuclei"


def test_a_data_map(monkeypatch, tmp_path):
    key, name = use("data map")
    assert key == "read"
    with pytest.raises(ValueError, match="there is no reader 'mine'"):
        column_map.load_map(name, tmp_path)
    monkeypatch.setattr(column_map, "MAPS", tmp_path)
    (tmp_path / "mine.yaml").write_text("{dataset: own, tasks: [text_qa], question: q, answer: {text: a}}")
    assert column_map.load_map(name, tmp_path / "elsewhere").question == "q"


def test_a_box_format(monkeypatch):
    key, name = use("box format")
    with pytest.raises(ValueError, match="mine"):
        load_config("quickstart", {f"model.{key}": name})
    monkeypatch.setitem(FORMATS, name, BoxFormat(name=name, put=listed))
    assert load_config("quickstart", {f"model.{key}": name})[0].model.boxes == name
    assert box_format(name).read("[[1, 2, 3, 4]]").xyxy == ((1.0, 2.0, 3.0, 4.0),)


def test_an_engine(monkeypatch):
    key, name = use("engine")

    @dataclass(frozen=True, kw_only=True)
    class Mine:
        size: int = 2

        def build(self, policy):
            return self.size

    with pytest.raises(ValueError, match="there is no engine 'mine'"):
        load_config("quickstart", {key: name})
    monkeypatch.setitem(engines.ENGINES, name, Mine)
    config, _ = load_config("quickstart", {key: {name: {"size": 3}}})
    assert engines.engine_settings(config.engine).build(None) == 3
    assert load_config("quickstart", {key: name})[0].engine == name
