"""From scored groups to micro-batches: what is masked, and that every row keeps its own numbers."""

import pytest
import torch

from groundrl.algorithms.window import collect, epochs
from groundrl.rewards import Completion, Example, Group, Score, reward
from groundrl.rollout.logprobs import CompletionLogprobs


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
    arguments = {"logprobs": logprobs, "reference": None, "keep_old": False, "micro_batch_size": 4, "reward": total}
    return collect(groups, policy, **arguments | changes)


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


@pytest.mark.parametrize("micro_batch_size", [1, 4, 100])
def test_old_and_reference_logprobs_stand_in_their_rows(text_policy, groups, micro_batch_size):
    """Rows are sorted by length for computing and must come back in the order of the groups."""
    hot = CompletionLogprobs(text_policy, temperature=3.0)
    window = collected(groups, text_policy, keep_old=True, reference=hot, micro_batch_size=micro_batch_size)
    for row in range(6):
        alone = window.padded(text_policy, [row])
        width = alone.completion_ids.shape[1]
        with torch.no_grad():
            for module, found in (
                (CompletionLogprobs(text_policy, temperature=1.0), window.old_logprobs_NT),
                (hot, window.ref_logprobs_NT),
            ):
                torch.testing.assert_close(found[row, :width], module(alone)[0][0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("micro_batch_size", [1, 2, 4, 100])
def test_micro_batches_hold_every_row_once_with_its_own_advantages(text_policy, groups, micro_batch_size):
    window = collected(groups, text_policy)
    advantages = torch.arange(1.0, 7.0)[:, None] * window.completion_mask_NT
    passes = list(
        epochs(
            window,
            advantages,
            text_policy,
            count=2,
            micro_batch_size=micro_batch_size,
            total_tokens=6.0,
            total_completions=4.0,
            max_length=9,
        )
    )
    assert len(passes) == 2
    for batches in passes:
        assert len(batches) == -(-6 // micro_batch_size)
        rows = [
            (batch.padded.completion_ids[k, 0].item(), batch.advantages_NT[k, 0].item())
            for batch in batches
            for k in range(len(batch.advantages_NT))
        ]
        assert sorted(rows) == [(5, 1), (6, 2), (9, 0), (10, 0), (11, 5), (12, 6)]
        assert {(batch.total_tokens, batch.total_completions) for batch in batches} == {(6.0, 4.0)}
    widths = [batch.advantages_NT.shape[1] for batch in passes[0]]
    assert widths == sorted(widths), "short completions are not padded to the longest of the step"
