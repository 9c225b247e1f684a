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
from groundrl.experiments.evals.scores import figures, score
from groundrl.experiments.metrics import METRICS, Answered, Tools
from groundrl.experiments.metrics.metric import mean_of
from groundrl.experiments.tasks import TASKS, Fields
from groundrl.rewards import Completion, Example, Score, expression
from groundrl.rewards.boxes.formats import FORMATS, BoxFormat, box_format, listed
from groundrl.rewards.core.function import load_module
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
            return Score(value=float(completion.text == example.answer))

    config, base = load_config("quickstart", {key: value})
    with pytest.raises(ValueError, match="Mine"):
        build_reward(config, base)
    monkeypatch.setitem(expression.CALLABLE, "Mine", Mine)  # which is made of REWARDS when it is imported
    built, example = build_reward(config, base), Example(id="a", prompt="?", answer="yes")
    assert value == "0.5 * Mine()"
    assert [built.score(Completion(text=text), example).value for text in ("yes", "no")] == [0.5, 0.0]


def refused_by_an_evaluation(kind: str) -> dict[str, object]:
    """A data set that asks for one more of a kind, which is not there yet."""
    key, value = use(kind)
    data = {"name": "own", "data": "nuclei/test", key: value}
    with pytest.raises(ValueError, match=f"there is no {kind} 'mine'"):
        EvalConfig.model_validate({"name": "own", "data": [data]})
    return data


def evaluated(data: dict[str, object], examples: list[Example], texts: list[str]) -> dict[str, float]:
    """The figures of answers to a data set, by metric."""
    (dataset,) = EvalConfig.model_validate({"name": "own", "data": [data]}).data
    answers = [
        Answered(example=each, completion=Completion(text=text)) for each, text in zip(examples, texts, strict=True)
    ]
    scored, _ = score(dataset, answers, Tools(), METRICS, ())
    return {name: found["value"] for name, found in figures(scored, METRICS).items()}


def test_a_task(monkeypatch):
    data = refused_by_an_evaluation("task")
    mine = replace(TASKS["text_qa"], name="mine", templates={"asked": "Say {question}."}, metrics=("exact_match",))
    monkeypatch.setitem(TASKS, "mine", mine)
    examples = [mine.example(Fields(id=word, dataset="own", question=word, answer=word)) for word in ("one", "two")]
    assert [example.prompt for example in examples] == ["Say one.", "Say two."]
    assert evaluated(data, examples, ["one", "one"]) == {"exact_match": 0.5}


def test_a_metric(monkeypatch):
    data = refused_by_an_evaluation("metric")
    long = mean_of(lambda completion, example: float(len(completion.text) > 3), "the answer has over three letters")
    monkeypatch.setitem(METRICS, "mine", long)
    examples = [Example(id=f"{index}", prompt="?") for index in range(4)]
    assert evaluated(data, examples, ["yes", "no", "maybe", "no"]) == {"mine": 0.25}


def test_the_page_of_all_names_has_one_more(monkeypatch):
    @estimator()
    def mine(window):
        """What I tried."""

    site = load_module("site_pages", str(ROOT / "docs" / "pages.py"))
    assert "What I tried." not in site.names_page()
    monkeypatch.setitem(ADVANTAGES, "mine", mine)
    assert "\n- `mine`: What I tried.\n" in site.names_page()


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
    monkeypatch.setitem(FORMATS, name, BoxFormat(name=name, source="Mine: its card.", put=listed))
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
