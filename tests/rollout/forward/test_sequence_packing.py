"""Training samples that share a row: each is computed as if it stood alone."""

import pytest
import torch

from groundrl.algorithms.sft import BatchLoss
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs
from groundrl.rollout.forward.sequence_packing import fill_rows, join_batch


def sample(policy, examples):
    prompts = [policy.encode(example) for example in examples]
    return prompts, [policy.encode_answer(example.answer) for example in examples]


@pytest.mark.parametrize("kind", ["vl", "text"])
def test_log_probs_and_gradients_are_those_of_rows_of_their_own(kind, request):
    """Qwen3-VL with one and two images, its tower learning; and a text model. Ragged."""
    policy, examples = request.getfixturevalue(f"{kind}_policy"), request.getfixturevalue(f"{kind}_examples")
    prompts, answers = sample(policy, examples)
    assert len({len(answer) for answer in answers}) > 1
    logprobs = CompletionLogprobs(policy, temperature=1.0)
    policy.model.train()  # as SFT is; these have no dropout
    found = []
    for make in (pad_batch, join_batch):
        policy.model.zero_grad(set_to_none=True)
        values, entropy = logprobs(make(policy, prompts, answers))
        values.sum().backward()
        gradients = torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None])
        found.append((values.detach(), entropy.detach(), gradients))
    policy.model.eval()
    (values, entropy, gradients), (joined, joined_entropy, joined_gradients) = found
    torch.testing.assert_close(joined, values, rtol=0, atol=1e-5)
    torch.testing.assert_close(joined_entropy, entropy, rtol=0, atol=1e-4)
    assert (joined_gradients - gradients).norm() < 1e-5 * gradients.norm()


def test_no_sample_sees_another(text_policy, text_examples):
    """The last sample's log-probs stay bit for bit what they were whatever stands before it."""
    prompts, answers = sample(text_policy, text_examples)
    logprobs = CompletionLogprobs(text_policy, temperature=1.0)
    other = [token + 1 for token in answers[0]]
    with torch.no_grad():
        first, second = (
            logprobs(join_batch(text_policy, prompts[:2], [changed, answers[1]]))[0] for changed in (answers[0], other)
        )
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_the_loss_is_that_of_the_padded_form(vl_policy, vl_examples):
    prompts, answers = sample(vl_policy, vl_examples)
    totals = [
        BatchLoss(vl_policy, packed=packed)(make(vl_policy, prompts, answers))
        for packed, make in ((False, pad_batch), (True, join_batch))
    ]
    torch.testing.assert_close(totals[0][0], totals[1][0], rtol=1e-5, atol=0)
    assert totals[0][1] == totals[1][1]


def test_rows_are_filled_by_first_fit_the_longest_first():
    """Of 10: 7 and 3; 6 and 4; 2. The one of 12 stands alone."""
    assert fill_rows([3, 7, 12, 4, 6, 2], 10) == [[2], [0, 1], [3, 4], [5]]
    assert fill_rows([5, 5], 10) == [[0, 1]]
    assert fill_rows([], 10) == []
