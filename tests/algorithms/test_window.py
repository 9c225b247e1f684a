"""From scored groups to micro-batches: what is masked, and that every row keeps its own numbers."""

import math
from dataclasses import replace

import pytest
import torch

from groundrl.algorithms.advantages import ADVANTAGES
from groundrl.algorithms.collect import Collecting, collect, epochs
from groundrl.algorithms.learn_batch import StepTotals
from groundrl.rewards import Completion, Example, Group, Score, reward
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.forward.planner import Planner


@reward
def total(completion: Completion, example: Example) -> float:
    return 0.0


def completion(*ids: int, sampled=None) -> Completion:
    return Completion(
        text="", token_ids=ids, sampled=sampled or (True,) * len(ids), logprobs=tuple(-0.1 * token for token in ids)
    )


@pytest.fixture
def groups(text_examples) -> list[Group]:
    """Three prompts, two completions each: a missing score in the second group drops it."""
    answers = [
        (completion(5), completion(6, 7, 8)),
        (completion(9, 9), completion(10)),
        (completion(11), completion(12)),
    ]
    scores = [(1.0, 0.0), (None, 0.5), (0.25, 0.25)]
    return [
        Group(
            example=example,
            completions=pair,
            scores=tuple(Score(value=v, status="ok" if v is not None else "error") for v in values),
        )
        for example, pair, values in zip(text_examples, answers, scores, strict=True)
    ]


def collected(groups, policy, **changes):
    logprobs = CompletionLogprobs(policy, temperature=1.0)
    planner = Planner(logprobs, update="auto", tokens=40)
    arguments = {"logprobs": logprobs, "reference": None, "keep_old": False, "planner": planner, "reward": total}
    return collect(groups, policy, Collecting(**arguments | changes))


def test_rewards_are_nan_exactly_where_invalid(text_policy, groups):
    window = collected(groups, text_policy)
    assert window.valid_PG.tolist() == [[True, True], [False, False], [True, True]]
    assert window.rewards_PG.isnan().tolist() == (~window.valid_PG).tolist()
    assert window.rewards_PG[window.valid_PG].tolist() == [1.0, 0.0, 0.25, 0.25]


def test_the_mask_has_the_sampled_tokens_of_valid_completions(text_policy, groups):
    groups[0] = Group(
        example=groups[0].example,
        completions=(completion(5), completion(6, 7, 8, sampled=(True, False, True))),
        scores=groups[0].scores,
    )
    window = collected(groups, text_policy)
    assert window.completion_mask_NT.tolist() == [[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]]
    torch.testing.assert_close(window.sampler_logprobs_NT[1], torch.tensor([-0.6, -0.7, -0.8]))


@pytest.mark.parametrize("tokens", [1, 40, 1000])
@pytest.mark.parametrize("update", ["padded", "packed", "prefix"])
def test_old_and_reference_logprobs_stand_in_their_rows(text_policy, groups, tokens, update):
    """Prompts are sorted by length for computing and must come back in the order of the groups."""
    hot = CompletionLogprobs(text_policy, temperature=3.0)
    planner = Planner(CompletionLogprobs(text_policy, temperature=1.0), update=update, tokens=tokens)
    window = collected(groups, text_policy, keep_old=True, reference=hot, planner=planner)
    for row in range(6):
        alone = pad_batch(text_policy, [window.prompts[row // 2]], [groups[row // 2].completions[row % 2].token_ids])
        width = alone.completion_ids.shape[1]
        with torch.no_grad():
            for module, found in (
                (CompletionLogprobs(text_policy, temperature=1.0), window.old_logprobs_NT),
                (hot, window.ref_logprobs_NT),
            ):
                torch.testing.assert_close(found[row, :width], module(alone)[0][0], rtol=0, atol=1e-5)


def test_truncated_completions_are_not_learned_from_but_count_in_the_baseline(text_policy, groups):
    first, *others = groups
    cut = replace(first.completions[1], finish_reason="length")
    groups = [replace(first, completions=(first.completions[0], cut)), *others]
    assert collected(groups, text_policy).completion_mask_NT[1].any()
    window = collected(groups, text_policy, mask_truncated=True)
    assert window.completion_mask_NT.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert window.rewards_PG[0].tolist() == [1.0, 0.0]
    torch.testing.assert_close(ADVANTAGES["dr_grpo"](window)[:2, 0], torch.tensor([0.5, 0.0]))


def test_the_parts_of_a_sum_stand_beside_the_total(text_policy, groups):
    """Part `a` abstains on one completion of the first group; the second group is dropped, parts and all."""
    parts = [[(0.5, 2.0), (None, 1.0)], [(1.0, 1.0), (1.0, 1.0)], [(0.25, 0.0), (0.75, -1.0)]]
    groups = [
        replace(
            group,
            scores=tuple(
                replace(
                    score,
                    parts={
                        "a": Score(value=a, status="ok" if a is not None else "abstain"),
                        "b": Score(value=b),
                    },
                )
                for score, (a, b) in zip(group.scores, pairs, strict=True)
            ),
        )
        for group, pairs in zip(groups, parts, strict=True)
    ]
    window = collected(groups, text_policy, reward=0.25 * total.named("a") - 2 * total.named("b"))
    assert dict(window.weights) == {"a": 0.25, "b": -2.0}
    nan = math.nan
    torch.testing.assert_close(window.parts["a"], torch.tensor([[0.5, nan], [nan, nan], [0.25, 0.75]]), equal_nan=True)
    torch.testing.assert_close(window.parts["b"], torch.tensor([[2.0, 1.0], [nan, nan], [0.0, -1.0]]), equal_nan=True)


def test_a_reward_that_is_no_sum_is_its_own_part(text_policy, groups):
    window = collected(groups, text_policy)
    assert dict(window.weights) == {"total": 1.0}
    torch.testing.assert_close(window.parts["total"], window.rewards_PG, equal_nan=True)


def test_the_penalty_of_each_token_is_k1_of_policy_and_reference(text_policy, groups):
    hot = CompletionLogprobs(text_policy, temperature=3.0)
    window = collected(groups, text_policy, reference=hot, kl_in_reward=0.5)
    mask = window.completion_mask_NT
    expected = 0.5 * (window.old_logprobs_NT - window.ref_logprobs_NT)
    torch.testing.assert_close(window.kl_penalty_NT, expected)
    assert expected[mask.bool()].abs().max() > 1e-3
    scores = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [0.25, 0, 0], [0.25, 0, 0]])
    torch.testing.assert_close(window.token_rewards_NT, (scores - expected) * mask)
    assert collected(groups, text_policy, reference=hot).kl_penalty_NT is None


def test_the_score_comes_with_the_last_sampled_token(text_policy, groups):
    two_of_three = completion(6, 7, 8, sampled=(True, True, False))
    groups[0] = replace(groups[0], completions=(completion(5, 6), two_of_three))
    groups[0] = replace(groups[0], scores=(Score(value=0.5), Score(value=2.0)))
    window = collected(groups, text_policy)
    assert window.token_rewards_NT[:2].tolist() == [[0.0, 0.5, 0.0], [0.0, 2.0, 0.0]]


@pytest.mark.parametrize("update", ["padded", "packed", "prefix", "auto"])
@pytest.mark.parametrize("tokens", [1, 40, 1000])
def test_micro_batches_hold_every_row_once_with_its_own_advantages(text_policy, groups, tokens, update):
    window = collected(groups, text_policy)
    advantages = torch.arange(1.0, 7.0)[:, None] * window.completion_mask_NT
    passes = list(
        epochs(
            window,
            advantages,
            StepTotals(tokens=6.0, completions=4.0, max_length=9),
            count=2,
            planner=Planner(CompletionLogprobs(text_policy, temperature=1.0), update=update, tokens=tokens),
        )
    )
    assert len(passes) == 2
    for batches in passes:
        assert len(batches) == {1: 6, 1000: 1}.get(tokens, len(batches))
        rows = [
            (batch.inputs.completion_ids[k, 0].item(), batch.advantages_NT[k, 0].item())
            for batch in batches
            for k in range(len(batch.advantages_NT))
        ]
        assert sorted(rows) == [(5, 1), (6, 2), (9, 0), (10, 0), (11, 5), (12, 6)]
        assert {(batch.total_tokens, batch.total_completions) for batch in batches} == {(6.0, 4.0)}
    assert all(batch.advantages_NT.shape == batch.inputs.completion_ids.shape for batch in passes[0])
