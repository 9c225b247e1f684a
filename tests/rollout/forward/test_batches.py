"""Padded batches: where everything stands, and that padding changes no log-prob."""

import torch

from groundrl.rewards import Example
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import CompletionLogprobs


def test_prompts_end_and_completions_begin_at_one_column(text_policy):
    prompts = [text_policy.encode(Example(id=text, prompt=text)) for text in ("yes", "How many nuclei?")]
    batch = pad_batch(text_policy, prompts, [[11, 12, 13], [21]], sampled=[[True, False, True], [True]])
    before = max(len(prompt) for prompt in prompts)
    pad, short = text_policy.pad_id, len(prompts[0])
    assert batch.input_ids[0].tolist() == [*[pad] * (before - short), *prompts[0].ids.tolist(), 11, 12, 13]
    assert batch.input_ids[1].tolist() == [*prompts[1].ids.tolist(), 21, pad, pad]
    assert batch.completion_ids.tolist() == [[11, 12, 13], [21, pad, pad]]
    assert batch.completion_mask.tolist() == [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]], "a token of a tool is not learned from"
    assert batch.attention_mask.tolist() == [[0] * (before - short) + [1] * (short + 3), [1] * (before + 1) + [0, 0]]
    assert batch.position_ids[0, 0, before - short :].tolist() == list(range(short + 3))
    assert batch.position_ids[0, 1, : before + 1].tolist() == list(range(before + 1))


def test_positions_after_an_image_go_on_from_its_largest_on_all_three_axes(vl_policy, vl_examples):
    """48 x 32 pixels are 3 x 2 tokens: the image advances the position by 3 while it takes 6 tokens."""
    prompt = vl_policy.encode(vl_examples[0])
    batch = pad_batch(vl_policy, [prompt], [[1, 2]])
    after = len(prompt) - 6 + 3
    assert batch.position_ids[:, 0, -2:].tolist() == [[after, after + 1]] * 3


def test_company_and_padding_change_no_logprob(vl_policy, vl_examples):
    """Rows alone, and in one batch with longer prompts, longer completions and other images."""
    prompts = [vl_policy.encode(example) for example in vl_examples]
    completions = [[9, 8, 7], [6], [5, 4, 3, 2, 1], [1, 1]]
    module = CompletionLogprobs(vl_policy, temperature=0.7)
    with torch.no_grad():
        together, entropies = module(pad_batch(vl_policy, prompts, completions))
        for row, (prompt, ids) in enumerate(zip(prompts, completions, strict=True)):
            alone, entropy = module(pad_batch(vl_policy, [prompt], [ids]))
            torch.testing.assert_close(together[row, : len(ids)], alone[0], rtol=0, atol=1e-5)
            torch.testing.assert_close(entropies[row, : len(ids)], entropy[0], rtol=0, atol=1e-5)
    assert torch.isfinite(together).all()


def test_rows_of_one_prompt_share_its_images_and_their_gradient(vl_policy, vl_examples):
    """Three answers to one prompt with two images, beside another's: as if each row had brought its own images."""
    prompts = [vl_policy.encode(vl_examples[k]) for k in (1, 0, 1, 2, 1)]
    completions = [[9, 8], [7], [6, 5, 4], [3], [2]]
    module = CompletionLogprobs(vl_policy, temperature=1.0)
    pixels = vl_policy.model.model.visual.patch_embed.proj.weight

    def learned(batches):
        results = [module(batch)[0] * batch.completion_mask for batch in batches]
        (gradient,) = torch.autograd.grad(sum((values**2).sum() for values in results), pixels)
        return [value for values in results for row in values.tolist() for value in row if value], gradient

    shared = pad_batch(vl_policy, prompts, completions)
    assert shared.images.image_grid_thw.shape[0] == 3, "two images of the one, one of the other"
    assert shared.images.index == [0, 1, 2, 0, 1, 0, 1]
    values, gradient = learned([shared])
    expected, expected_gradient = learned(
        [pad_batch(vl_policy, [prompt], [ids]) for prompt, ids in zip(prompts, completions, strict=True)]
    )
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-5)
    assert expected_gradient.abs().max() > 1e-3
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-5)
