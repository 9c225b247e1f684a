"""Small random models of other families, built as transformers saves them, through the engine that evaluates them."""

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3Processor,
    InternVLConfig,
    InternVLForConditionalGeneration,
    InternVLProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from groundrl.experiments.bench.tiny_model import build_tokenizer
from groundrl.rewards import DataError, Example
from groundrl.rollout.model.private import images_only
from groundrl.rollout.sampling.engine import Engine
from groundrl.rollout.sampling.families import FamilyEngine, image_ids
from groundrl.rollout.settings import Sampling

TEMPLATE = (
    "{%- for message in messages -%}<|im_start|>{{ message['role'] }}\n{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'image' -%}IMAGE{%- else -%}{{ part['text'] }}{%- endif -%}{%- endfor -%}<|im_end|>\n"
    "{%- endfor -%}{%- if add_generation_prompt -%}<|im_start|>assistant\n{%- endif -%}"
)
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 16,
    "max_position_embeddings": 256,
}
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}


def tokenizer_with(**tokens):
    plain = build_tokenizer()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain.backend_tokenizer,
        eos_token=plain.eos_token,
        pad_token=plain.pad_token,
        extra_special_tokens=tokens,
        clean_up_tokenization_spaces=False,
    )


def text_config(tokenizer, **more):
    ids = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    return TEXT | ids | {"vocab_size": len(tokenizer) + 6} | more


def llava():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = tokenizer_with(image_token="<image>")
    vision = CLIPVisionConfig(image_size=32, patch_size=8, **VISION)
    config = LlavaConfig(
        vision_config=vision,
        text_config=text_config(tokenizer) | {"model_type": "llama"},
        image_token_id=tokenizer.image_token_id,
    )
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = LlavaProcessor(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE.replace("IMAGE", "<image>"),
    )
    return LlavaForConditionalGeneration(config), processor


def internvl():
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    names = {"start_image_token": "<img>", "end_image_token": "</img>", "context_image_token": "<IMG_CONTEXT>"}
    tokenizer = tokenizer_with(**names, video_token="<video>")
    config = InternVLConfig(
        vision_config={"image_size": [32, 32], "patch_size": [8, 8], **VISION},
        text_config=text_config(tokenizer) | {"model_type": "qwen2"},
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=4,
        downsample_ratio=0.5,
    )
    images = GotOcr2ImageProcessorPil(size={"height": 32, "width": 32}, min_patches=1, max_patches=2)
    processor = images_only(InternVLProcessor)(
        images, tokenizer, image_seq_length=4, chat_template=TEMPLATE.replace("IMAGE", "<IMG_CONTEXT>")
    )
    return InternVLForConditionalGeneration(config), processor


def gemma3():
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil

    tokenizer = tokenizer_with(boi_token="<boi>", eoi_token="<eoi>", image_token="<soft>")
    config = Gemma3Config(
        text_config=text_config(tokenizer, sliding_window=16),
        vision_config={"image_size": 32, "patch_size": 8, **VISION},
        mm_tokens_per_image=4,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
        image_token_index=tokenizer.image_token_id,
    )
    images = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
    processor = Gemma3Processor(images, tokenizer, image_seq_length=4, chat_template=TEMPLATE.replace("IMAGE", "<boi>"))
    return Gemma3ForConditionalGeneration(config), processor


FAMILIES = {"llava": llava, "internvl": internvl, "gemma3": gemma3}


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    """A checkpoint of the family, as transformers saves it."""
    path = tmp_path_factory.mktemp("families") / request.param
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = FAMILIES[request.param]()
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.data.normal_(std=0.3)  # wide, so that answers differ; Gemma 3's projection begins at 0
    model.generation_config.eos_token_id = processor.tokenizer.eos_token_id
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path


def answers(engine, examples, *, group_size=1, temperature=0.0, keys=None):
    sampling = Sampling(max_new_tokens=6, temperature=temperature)
    keys = keys or [f"0/{example.id}" for example in examples]
    groups = sorted(
        engine.generate(examples, group_size=group_size, sampling=sampling, seed_keys=keys), key=lambda g: g.index
    )
    assert [group.example.id for group in groups] == [example.id for example in examples]
    return [group.completions for group in groups]


def test_a_saved_model_answers_and_padding_changes_nothing(folder, vl_examples):
    engine = FamilyEngine.load(folder, max_rows=4)
    assert isinstance(engine, Engine)
    together = answers(engine, vl_examples)
    alone = [answers(engine, [example])[0] for example in vl_examples]
    for (one,), (other,) in zip(together, alone, strict=True):
        assert one.token_ids == other.token_ids
        torch.testing.assert_close(one.logprobs, other.logprobs, rtol=0, atol=1e-4)
    assert len({one.logprobs for (one,) in together}) == len(vl_examples), "each answers to its own prompt"


def test_greedy_is_the_models_own_generate(folder, vl_examples):
    """The processor and `generate` called by hand, one example, nothing of ours but the tokens never to be written."""
    engine = FamilyEngine.load(folder)
    example = vl_examples[0]
    ((mine,),) = answers(engine, [example])
    inputs = engine._inputs([example], [engine._render(example)], room=6)
    never = [[int(token)] for token in (engine.forbidden < 0).nonzero()[:, 0]]
    expected = engine.model.generate(**inputs, max_new_tokens=6, do_sample=False, bad_words_ids=never)
    new = expected[0, inputs["input_ids"].shape[1] :].tolist()
    assert list(mine.token_ids) == new[: len(mine.token_ids)]
    with torch.inference_mode():
        logits = engine.model(**inputs).logits[0, -1] + engine.forbidden
    assert mine.logprobs[0] == pytest.approx(float(logits.log_softmax(-1)[mine.token_ids[0]]), abs=1e-4)


def test_noise_is_keyed_and_image_tokens_are_never_written(folder, vl_examples):
    engine = FamilyEngine.load(folder, max_rows=64)
    sampled = answers(engine, vl_examples[:2], group_size=16, temperature=4.0)
    again = answers(engine, vl_examples[1::-1], group_size=16, temperature=4.0)
    assert [[one.token_ids for one in group] for group in sampled] == [
        [one.token_ids for one in group] for group in again[::-1]
    ]
    assert len({one.token_ids for one in sampled[0]}) > 8
    never = image_ids(engine.model.config, engine.processor)
    assert never
    assert not never & {token for group in sampled for one in group for token in one.token_ids}


def test_the_picture_changes_the_answer(folder, image):
    engine = FamilyEngine.load(folder)
    shown = [Example(id="a", prompt="Describe the image.", images=(image(seed),)) for seed in (1, 2)]
    with torch.inference_mode():
        first, second = (
            engine.model(**engine._inputs([example], [engine._render(example)], room=1)).logits for example in shown
        )
    assert not torch.allclose(first, second, atol=1e-4)


def test_a_prompt_that_is_too_long_is_named(folder):
    engine = FamilyEngine.load(folder)
    with pytest.raises(DataError, match=r"'long': .* exceed the model's context of 256"):
        answers(engine, [Example(id="long", prompt="nuclei " * 300)])


def test_an_architecture_that_reads_no_images_is_refused(tmp_path):
    from transformers import CLIPConfig

    CLIPConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has the architecture 'clip', which transformers does not know as a model"):
        FamilyEngine.load(tmp_path)


def test_these_families_are_not_trained(folder):
    with pytest.raises(ValueError, match="can be evaluated, not trained"):
        FamilyEngine.load(folder).sync({}, 1)
