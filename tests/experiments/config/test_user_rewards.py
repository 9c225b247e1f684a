"""The reward of a configuration, and what is said when a user's file is wrong."""

import pytest

from groundrl.experiments.config.load import load_config
from groundrl.experiments.config.rewards import build_reward, load_user_reward
from groundrl.experiments.config.run import ConfigError


def test_parts_take_the_names_of_the_configuration():
    config, base = load_config("quickstart", {})
    assert dict(build_reward(config, base).weights) == {"box": 0.6, "label": 0.3, "format": 0.1}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import nothing_of_that_name", "does not import: ModuleNotFoundError"),
        ("def broken(:", "does not import: SyntaxError"),
        ("def tight(completion, example): return 1.0", "has no reward 'tight'; it holds none; put @reward above"),
        (
            "from groundrl.rewards import reward\n@reward(range=(0, 1))\ndef other(c, e): return 1.0",
            "has no reward 'tight'; its rewards are other",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_to_do(tmp_path, code, message):
    (tmp_path / "mine.py").write_text(code)
    with pytest.raises(ConfigError) as caught:
        load_user_reward(tmp_path / "mine.py", "tight")
    assert message in str(caught.value)
    assert "mine.py" in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match="there is no reward file"):
        load_user_reward(tmp_path / "mine.py", "tight")


def test_an_expression_that_is_wrong_names_its_key():
    config, base = load_config("quickstart", {"reward": "0.5*boxx"})
    with pytest.raises(ConfigError, match=r"reward: .*box"):
        build_reward(config, base)
