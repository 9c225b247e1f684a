"""The scorer: order, counts, warnings, masking, and worker processes that hang, crash and raise."""

import importlib.util
import sys
import time

import pytest

from groundrl.rewards import (
    Completion,
    Example,
    Format,
    GroundRLWarning,
    Group,
    MedLoc,
    Reward,
    RewardError,
    Score,
    Scorer,
    linear,
    reward,
)

HAZARDS = """
import os, time
from groundrl.rewards import Length
from groundrl.rewards import reward

@reward
def hazard(completion, example):
    if completion.text == "hang":
        while True:
            pass
    if completion.text == "crash":
        os._exit(3)
    if completion.text == "raise":
        raise KeyError("no such column")
    return float(completion.text)
"""


def group(*texts, index=0):
    completions = tuple(Completion(text=text, token_ids=(1,) * (k + 1)) for k, text in enumerate(texts))
    return Group(example=Example(id=f"e{index}", prompt="p"), completions=completions, index=index)


@reward
def number(completion, example):
    return (
        {"abstain": None, "nan": float("nan"), "inf": float("inf")}.get(completion.text)
        if not (completion.text.replace(".", "").isdigit())
        else float(completion.text)
    )


@pytest.fixture(scope="module")
def hazard(tmp_path_factory):
    """A reward in a file outside the import path, as a user's own is."""
    path = tmp_path_factory.mktemp("user") / "user_rewards.py"
    path.write_text(HAZARDS)
    spec = importlib.util.spec_from_file_location("user_rewards", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["user_rewards"] = module
    spec.loader.exec_module(module)
    yield module.hazard
    del sys.modules["user_rewards"]


def values(groups):
    return [[score.value for score in group.scores] for group in groups]


def test_results_come_in_the_order_of_submission_and_only_once():
    scorer = Scorer(number)
    for index in range(3):
        scorer.submit(group("0.1", f"0.{index}", index=index))
    assert values(scorer.results()) == [[0.1, 0.0], [0.1, 0.1], [0.1, 0.2]]
    assert scorer.results() == []


def test_statuses_are_counted_and_the_first_offender_is_named_once():
    scorer = Scorer(number)
    scorer.submit(group("1", "nan", "0.5", "abstain", index=0))
    scorer.submit(group("inf", "0.5", index=1))
    with pytest.warns(GroundRLWarning, match="example 'e0', status nonfinite .*completion 'nan'") as caught:
        first, second = scorer.results()
    assert len(caught) == 1
    assert [score.status for score in first.scores] == ["ok", "nonfinite", "ok", "abstain"]
    assert [score.value for score in second.scores] == [None, 0.5]
    counts = {"completions": 6, "ok": 3, "nonfinite": 2, "abstain": 1, "groups": 2, "groups_dropped": 1, "deadline": 0}
    assert dict(scorer.counts) == counts


@reward
def strict(completion, example):
    return float(completion.text)


def test_an_exception_stops_the_run_with_the_completion_shown():
    with pytest.raises(RewardError, match=r"(?s)reward 'strict' failed on example 'e0': ValueError.*completion 'bad'"):
        Scorer(strict).submit(group("0.5", "bad", "1"))


def test_masked_exceptions_are_errors_up_to_the_stated_share():
    scorer = Scorer(strict, on_error="mask", max_error_share=0.4)
    scorer.submit(group("0.5", "bad", "1"))
    with pytest.warns(GroundRLWarning, match="ValueError"):
        (scored,) = scorer.results()
    assert [score.status for score in scored.scores] == ["ok", "error", "ok"]
    scorer.submit(group("bad", "bad", "1"))
    with pytest.raises(RewardError, match="3 of 6 completions had an error, more than 40%"):
        scorer.results()


class WrongLength(Reward):
    def score(self, completion, example):
        return Score(value=0.0)

    def score_group(self, completions, example):
        return [Score(value=0.0)]


class OutOfRange(Reward):
    def score(self, completion, example):
        return Score(value=2.0)


@pytest.mark.parametrize(
    ("broken", "message"), [(WrongLength(), "gave 1 scores for 2"), (OutOfRange(), r"2.0, outside its declared range")]
)
def test_a_broken_contract_stops_the_run(broken, message):
    with pytest.raises(RewardError, match=message):
        Scorer(broken).submit(group("a", "b"))


def test_the_step_sets_the_schedule_and_the_state_is_kept():
    scorer = Scorer(strict.scheduled(linear(0, 1, 10)))
    scorer.submit(group("1", "1"))
    scorer.set_step(5)
    scorer.submit(group("1", "1"))
    assert values(scorer.results()) == [[0.0, 0.0], [0.5, 0.5]]
    windowed = Scorer(MedLoc())
    windowed.reward.state["threshold"] = 0.45
    again = Scorer(MedLoc())
    again.load_state_dict(windowed.state_dict())
    assert again.reward.state_dict()["threshold"] == 0.45


@pytest.mark.parametrize("settings", [{"max_error_share": 2.0}, {"workers": -1}, {"workers": 1, "deadline": 0.0}])
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match="got"):
        Scorer(Format(), **settings)


def test_a_pool_replaces_workers_that_hang_or_crash_and_keeps_the_order(hazard):
    with Scorer(hazard, workers=2, deadline=3.0) as scorer:
        scorer.submit(group("0.1", "hang", "0.2", index=0))
        scorer.submit(group("crash", "0.3", "0.4", index=1))
        scorer.submit(group("0.5", "0.6", index=2))
        with pytest.warns(GroundRLWarning, match="the worker process died"):
            groups = scorer.results()
    assert values(groups) == [[0.1, 0.0, 0.2], [None, 0.3, 0.4], [0.5, 0.6]]
    assert groups[0].scores[1].detail["reason"] == "deadline"
    assert groups[1].scores[0].status == "error"
    assert (scorer.counts["deadline"], scorer.counts["error"]) == (1, 1)


def test_a_pool_raises_what_the_reward_raises_and_works_on(hazard):
    with Scorer(hazard, workers=1) as scorer:
        scorer.submit(group("0.1", "raise"))
        with pytest.raises(RewardError, match=r"(?s)reward 'hazard' failed on example 'e0': KeyError.*'raise'"):
            scorer.results()
        scorer.submit(group("0.7", "0.8"))
        assert values(scorer.results()) == [[0.7, 0.8]]


def test_submitting_does_not_wait_and_closing_ends_a_worker_that_hangs(hazard):
    scorer = Scorer(hazard, workers=1, deadline=600.0)
    scorer.submit(group("0.1"))
    scorer.results()
    start = time.monotonic()
    scorer.submit(group("hang"))
    scorer.close()
    assert time.monotonic() - start < 300  # the reward sleeps for 600 seconds


def test_what_cannot_be_pickled_runs_in_this_process_with_a_message():
    @reward
    def inside(completion, example):
        return 1.0

    with pytest.warns(GroundRLWarning, match="'inside' runs in this process: .*move it to a file"):
        scorer = Scorer(inside, workers=2)
    scorer.submit(group("a", "b"))
    assert values(scorer.results()) == [[1.0, 1.0]]
