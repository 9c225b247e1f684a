"""A tiny model of the real Qwen3-VL architecture, about 1 M parameters, with Qwen's special tokens and chat template.

The embedded base (`experiments/base`) is this model after the recipe `base`; tests use it with random weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SPECIAL_TOKENS = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
CHAT_TEMPLATE = (
    "{%- for message in messages -%}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- else -%}{{ part['text'] }}{%- endif -%}{%- endfor -%}{%- endif -%}{{ '<|im_end|>\n' }}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\n' }}{%- endif -%}"
)
# What the merges are learned from: the turns of the template, the answer format, and words of the shipped tasks.
CORPUS = [
    *["<|im_start|>user\n", "<|im_start|>assistant\n", "system\n", "Detect and localize all nuclei in the image."] * 8,
    *["0 nuclei <box>[]</box>", "1 nucleus <box>[[1, 1, 1, 1]]</box>"] * 8,
    *["2 nuclei <box>[[1, 1, 1, 1], [1, 1, 1, 1]]</box>"] * 16,
    *["<think>", "</think>", "<answer>", "</answer>", "yes", "no", "A", "B", "C", "D"] * 4,
    *["How many nuclei are in the image?", "Write a report of the image.", "Describe the image."] * 4,
    *["One nucleus, touching the left border.", "Two nuclei, one touching the right border."] * 4,
    *["Three nuclei, two touching the top border.", "Four nuclei, none touching the bottom border."] * 4,
    *["No nuclei.", "No mitotic figure.", "One mitotic figure.", "Findings: ", "Impression: "] * 4,
]
VOCABULARY = 560


def build_tokenizer() -> Any:
    """A byte-level BPE tokenizer in which every digit is its own token."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Split(Regex(r"\d"), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def build_config(tokenizer: Any, **text: Any) -> Any:
    """The configuration; `text` overrides fields of the text model (tests make it smaller)."""
    from transformers import Qwen3VLConfig

    token = tokenizer.convert_tokens_to_ids
    width = 96
    return Qwen3VLConfig(
        text_config={
            "vocab_size": -(-len(tokenizer) // 64) * 64,
            "hidden_size": width,
            "intermediate_size": 288,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "max_position_embeddings": 1024,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [4, 4, 4],
                "mrope_interleaved": True,
            },
            "tie_word_embeddings": True,
            "eos_token_id": token("<|im_end|>"),
            "pad_token_id": token("<|endoftext|>"),
        }
        | text,
        vision_config={
            "depth": 3,
            "hidden_size": 96,
            "intermediate_size": 288,
            "num_heads": 4,
            "patch_size": 8,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "out_hidden_size": width,
            "num_position_embeddings": 64,
            "deepstack_visual_indexes": [0, 1],
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
        tie_word_embeddings=True,
    )


def build_tiny_qwen3_vl(folder: Path, *, seed: int = 0, **text: Any) -> None:
    """Write the model with random weights, its tokenizer and its image processor as a Hugging Face folder."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    from groundrl.rollout.model.private import qwen_image_processor

    tokenizer = build_tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3VLForConditionalGeneration(build_config(tokenizer, **text))
    end = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    model.generation_config.eos_token_id = end
    model.generation_config.pad_token_id = end[1]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    qwen_image_processor(
        patch_size=8,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 32 * 32, "longest_edge": 256 * 256},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    ).save_pretrained(folder)
