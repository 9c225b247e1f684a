"""Engines by name: settings are checked before anything is built, and reach the engine."""

from dataclasses import dataclass

import pytest

from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.run import ConfigError
from groundrl.rollout.sampling.engine import Engine
from groundrl.rollout.sampling.engines import ENGINES, engine_settings
from groundrl.rollout.sampling.local import LocalEngine


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_is_one_with_nothing_failed(name, text_policy):
    engine = engine_settings(name).build(text_policy)
    assert isinstance(engine, Engine)
    assert engine.failures == {}


def test_settings_reach_the_engine(text_policy):
    engine = engine_settings({"local": {"max_rows": 3}}).build(text_policy)
    assert (engine.max_rows, engine.policy) == (3, text_policy)


@dataclass(frozen=True, kw_only=True)
class Elsewhere:
    """An engine of somebody else's."""

    url: str = "http://localhost"

    def build(self, policy):
        return LocalEngine(policy, max_rows=len(self.url))


def test_another_engine_is_one_class_and_one_entry(text_policy, monkeypatch):
    monkeypatch.setitem(ENGINES, "elsewhere", Elsewhere)
    config, _ = load_config("quickstart", {"engine": {"elsewhere": {"url": "http://a"}}})
    assert engine_settings(config.engine).build(text_policy).max_rows == 8


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("locl", "engine: there is no engine 'locl'; did you mean 'local'?"),
        ({"local": {"max_row": 3}}, "engine: the engine 'local' has no setting 'max_row'; did you mean 'max_rows'?"),
        ({"local": {"max_rows": 0}}, "engine: local: max_rows must be at least 1, got 0"),
        ({"local": {"max_rows": "9"}}, "engine: local: max_rows must be of type int, got '9'"),
        ({}, "engine: engine is one name, such as local, or one name with its settings, got {}"),
    ],
)
def test_what_is_no_engine_is_one_sentence(spec, message):
    with pytest.raises(ConfigError) as caught:
        load_config("quickstart", {"engine": spec})
    assert str(caught.value) == message
