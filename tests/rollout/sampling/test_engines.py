"""Engines by name: settings are checked before anything is built, and reach the engine."""

import pytest

from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.run import ConfigError
from groundrl.rollout.sampling.engine import Engine
from groundrl.rollout.sampling.engines import ENGINES, engine_settings


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_is_one_with_nothing_failed(name, text_policy):
    engine = engine_settings(name).build(text_policy)
    assert isinstance(engine, Engine)
    assert engine.failures == {}


def test_settings_reach_the_engine(text_policy):
    engine = engine_settings({"local": {"max_rows": 3}}).build(text_policy)
    assert (engine.max_rows, engine.policy) == (3, text_policy)


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
