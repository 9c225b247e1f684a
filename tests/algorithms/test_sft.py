"""Supervised fine-tuning: what is learned from, how fast, and that a stop loses nothing."""

import pytest
import torch
import transformers

from groundrl.algorithms.checkpoint import save_folder
from groundrl.algorithms.settings import SFTSettings
from groundrl.algorithms.sft import answer_loss, train_sft
from groundrl.rewards import DataError, Example
from groundrl.rollout.forward.batches import pad_batch
from groundrl.rollout.forward.logprobs import completion_logits
from groundrl.rollout.model.loader import Loader
from groundrl.rollout.model.policy import Policy

CPU = {"accelerator": "cpu", "devices": 1}


def train(policy, examples, folder, *, record=None, **settings):
    rows: list[dict[str, float]] = []
    chosen = SFTSettings(**{"steps": 3, "batch_size": 2, "lr": 1e-3} | settings)
    train_sft(
        policy,
        Loader(policy, examples, answers=True),
        chosen,
        record=record or rows.append,
        folder=folder,
        hardware=CPU,
    )
    return rows


class TestLoss:
    def test_the_mask_token_by_token(self, text_policy):
        """Two rows written out: the prompt is not learned from, the answer and its end token are, padding is not."""
        examples = [Example(id="a", prompt="yes", answer="no"), Example(id="b", prompt="no", answer="A B")]
        prompts = [text_policy.encode(example) for example in examples]
        answers = [text_policy.encode_answer(example.answer) for example in examples]
        batch = pad_batch(text_policy, prompts, answers)
        words = [text_policy.tokenizer.convert_ids_to_tokens(row) for row in batch.input_ids.tolist()]
        start = ["<|im_start|>", "user", "Ċ"]
        turn = ["<|im_end|>", "Ċ", "<|im_start|>", "assistant", "Ċ"]
        flat = ["".join(row) for row in words]
        assert flat[0] == "".join([*start, "yes", *turn, "no", "<|im_end|>", "<|endoftext|>", "<|endoftext|>"])
        assert flat[1] == "".join([*start, "no", *turn, "A", "Ġ", "B", "<|im_end|>"])
        learned = [
            [word for word, kept in zip(row[-4:], mask, strict=True) if kept]
            for row, mask in zip(words, batch.completion_mask.tolist(), strict=True)
        ]
        assert learned == [["no", "<|im_end|>"], ["A", "Ġ", "B", "<|im_end|>"]]
        assert batch.attention_mask.tolist() == [[1] * (len(words[0]) - 2) + [0, 0], [1] * len(words[1])]

    def test_value_and_gradient_are_those_of_the_models_own_labels(self, vl_policy, vl_examples):
        """Qwen3-VL with images and ragged rows, against `labels` with -100 wherever nothing is learned."""
        prompts = [vl_policy.encode(example) for example in vl_examples]
        batch = pad_batch(vl_policy, prompts, [vl_policy.encode_answer(example.answer) for example in vl_examples])
        assert not batch.completion_mask.all(), "without padded answers the mask would not matter"
        total, count = answer_loss(completion_logits(vl_policy, batch), batch)
        labels = torch.full_like(batch.input_ids, -100)
        width = batch.completion_ids.shape[1]
        labels[:, -width:] = batch.completion_ids.where(batch.completion_mask.bool(), -100)
        theirs = vl_policy.model(**batch.model_inputs(vl_policy), labels=labels, use_cache=False).loss
        assert count == (labels != -100).sum()
        torch.testing.assert_close(total / count, theirs, rtol=1e-6, atol=1e-6)
        parameter = vl_policy.model.model.language_model.layers[0].mlp.up_proj.weight
        gradients = [torch.autograd.grad(loss, parameter)[0] for loss in (total / count, theirs)]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)

    def test_the_recorded_loss_is_the_mean_over_tokens_not_over_rows(self, text_policy, text_examples, tmp_path):
        prompts = [text_policy.encode(example) for example in text_examples]
        batch = pad_batch(text_policy, prompts, [text_policy.encode_answer(e.answer) for e in text_examples])
        with torch.no_grad():
            total, count = answer_loss(completion_logits(text_policy, batch), batch)
        (row,) = train(text_policy, text_examples, tmp_path, steps=1, batch_size=3)
        assert row["loss"] == pytest.approx(float(total / count), abs=1e-6)

    def test_micro_batches_change_nothing_but_rounding(self, tiny_text, text_examples, tmp_path):
        """Unequal ones: answers of 2 to 15 tokens, two rows and one. Clipped too: the norm is well above 1e-3."""
        found = []
        for size in (3, 2):
            policy, gradients = Policy.load(tiny_text), {}
            for name, p in policy.model.named_parameters():
                p.register_post_accumulate_grad_hook(lambda p, n=name, g=gradients: g.update({n: p.grad.clone()}))
            (row,) = train(policy, text_examples, tmp_path / str(size), steps=1, batch_size=3, micro_batch_size=size)
            assert row["grad_norm"] > 1e-3
            found.append((gradients, row["loss"], row["grad_norm"]))
        torch.testing.assert_close(found[0][0], found[1][0], rtol=1e-4, atol=1e-6)
        assert found[0][1:] == pytest.approx(found[1][1:], rel=1e-5)


def test_the_gradient_is_clipped(tiny_text, text_examples, tmp_path, monkeypatch):
    """What the optimiser is given has the norm that was asked for; the row has that of before."""
    given = []
    step = torch.optim.AdamW.step

    def watch(self, closure=None):
        result = step(self, closure)
        given.append(float(torch.nn.utils.get_total_norm([p.grad for g in self.param_groups for p in g["params"]])))
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", watch)
    (row,) = train(Policy.load(tiny_text), text_examples, tmp_path, steps=1, batch_size=3, max_grad_norm=0.01)
    assert row["grad_norm"] > 0.02
    assert given == [pytest.approx(0.01, rel=1e-3)]


class Killed(Exception):
    """What ends a run from outside."""


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_resumed_stage_is_identical_to_one_that_never_stopped(text_model, text_examples, tmp_path, optimizer):
    """GPT-2 has dropout, so that the generator's state counts. Killed in step 6, after the checkpoint of step 4."""
    config = {"vocab_size": 500, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "bos_token_id": None}
    folder = text_model(transformers.GPT2Config(**config, resid_pdrop=0.3))

    def start(seed: int) -> Policy:
        policy = Policy.load(folder)
        torch.manual_seed(seed)
        return policy

    straight = start(0)
    expected = train(straight, text_examples, tmp_path / "straight", steps=8, optimizer=optimizer)

    def killed_in_step_6(row) -> None:
        if row["stage_step"] == 6:
            raise Killed

    settings = {"steps": 8, "checkpoint_every": 2, "optimizer": optimizer}
    with pytest.raises(Killed):
        train(start(0), text_examples, tmp_path / "killed", record=killed_in_step_6, **settings)
    resumed = start(99)  # as a new process would: the generator stands anywhere
    again = train(resumed, text_examples, tmp_path / "killed", **settings)
    assert [row["stage_step"] for row in again] == [5, 6, 7, 8]
    timeless = [{k: v for k, v in row.items() if not k.startswith("seconds/")} for row in (*expected[4:], *again)]
    assert timeless[:4] == timeless[4:]
    ours, theirs = resumed.model.state_dict(), straight.model.state_dict()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_a_stage_learns_its_answers_and_leaves_a_folder_that_plain_transformers_loads(vl_policy, vl_examples, tmp_path):
    rows = train(vl_policy, vl_examples, tmp_path, steps=15, batch_size=4, lr=5e-3)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    save_folder(vl_policy, tmp_path / "out")
    loaded = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path / "out", dtype=torch.float32)
    assert type(loaded).__name__ == "Qwen3VLForConditionalGeneration"
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer.chat_template == vl_policy.tokenizer.chat_template
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / "out")
    assert processor.patch_size == vl_policy.image_processor.patch_size
    inputs = pad_batch(vl_policy, [vl_policy.encode(vl_examples[1])], [[1, 2, 3]]).model_inputs(vl_policy)
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, vl_policy.model(**inputs).logits)


def test_an_example_without_an_answer_is_named(text_policy, tmp_path):
    with pytest.raises(DataError, match="example 'x' has no `answer`"):
        train(text_policy, [Example(id="x", prompt="yes?")], tmp_path, steps=1, batch_size=1)


def test_an_answer_beyond_the_context_is_named(text_policy, tmp_path):
    with pytest.raises(DataError, match=r"example 'x': .* exceed the model's context of 128"):
        train(text_policy, [Example(id="x", prompt="yes?", answer="1" * 200)], tmp_path, steps=1, batch_size=1)
