"""The coin: fair, blind to the text, the same again."""

from dataclasses import replace

import numpy as np

from groundrl.rewards import Completion, Example, RandomReward, parse_reward


def coins(example: str, version: int, texts: list[str]) -> list[float]:
    completions = [Completion(text=text, policy_version=version) for text in texts]
    return [score.value for score in RandomReward().score_group(completions, Example(id=example, prompt="?"))]


def test_it_is_a_fair_coin_that_does_not_look():
    one = [coins(f"e{k}", version, [""] * 8) for k in range(100) for version in range(5)]
    values = np.array(one)
    assert set(values.ravel()) == {0.0, 1.0}
    assert abs(values.mean() - 0.5) < 0.03  # 4000 tosses: sd 0.008
    assert abs(np.corrcoef(values.T) - np.eye(8)).max() < 0.2, "places are independent"
    assert coins("e0", 0, ["right", "wrong"] * 4) == one[0]
    assert RandomReward().groupwise


def test_it_is_written_and_read():
    reward = parse_reward(repr(0.5 * RandomReward()))
    assert "random_reward" in reward.weights
    completion = Completion(text="")
    again = RandomReward().score(replace(completion, text="x"), Example(id="a", prompt="?"))
    assert again == RandomReward().score(completion, Example(id="a", prompt="?"))
