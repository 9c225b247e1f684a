"""A reward of a user's own, as it was when the run was recorded."""

from groundrl.rewards import Completion, Example, reward


@reward(range=(0, 1))
def digits(completion: Completion, example: Example) -> float:
    """The share of digits in the answer's text."""
    return sum(letter.isdigit() for letter in completion.text) / max(1, len(completion.text))
