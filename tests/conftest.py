"""Tiny random models and examples that all rooms test with; our own warnings are errors."""

import io
import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: no test may need the network
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image

from groundrl.experiments.bench.tiny_model import build_tiny_qwen3_vl, build_tokenizer
from groundrl.rewards import Completion, Example, GroundRLWarning, ImageRef, Reward, reward
from groundrl.rollout.model.policy import Policy

torch.set_num_threads(1)  # tiny matrices: a second thread costs more in waiting than it computes

# The same examples in each run and no clock; `pytest --hypothesis-profile search` looks for new ones.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("same")

TESTS = Path(__file__).parent

# What `make fast` leaves out: modules and folders of more than some three seconds, measured with `pytest --durations`.
SLOW = (
    *(f"algorithms/test_{name}.py" for name in ("checkpoint", "critic", "dynamic_sampling", "loop", "objectives")),
    *(f"algorithms/test_{name}.py" for name in ("optimizers", "precision", "ranks", "sft", "sft_batches")),
    *(f"rewards/audit/test_{name}.py" for name in ("audit", "planted")),
    *(f"rewards/judge/test_{name}.py" for name in ("judge", "judge_client")),
    *("rewards/boxes/test_parsing.py", "rewards/factuality/test_any_text.py", "rewards/run/test_scorer.py"),
    *("rewards/published/test_presets.py", "rewards/test_properties.py"),
    *(f"rollout/{name}/" for name in ("forward", "sampling")),
    *(f"experiments/{name}/" for name in ("ablation", "analysis", "audit", "bench", "cli", "drawing", "evals", "runs")),
    *(f"experiments/data/{name}/" for name in ("cells_benchmark", "check", "formats", "shipped")),
    *(
        f"experiments/{name}.py"
        for name in ("config/test_recipes", "data/test_written_formats", "metrics/test_figures")
    ),
    *("experiments/data/test_written_formats.py", "experiments/recording/", "experiments/rescoring/", "evidence/"),
    *("test_benchmarks.py", "test_docs", "test_grpo_flat.py", "test_house.py", "test_notebooks.py", "test_readme.py"),
)


def is_slow(path: Path) -> bool:
    """Whether a module, or all of a folder, lies in `SLOW`."""
    name = path.relative_to(TESTS).as_posix()
    return f"{name}/".startswith(SLOW) if path.is_dir() else name.startswith(SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no module that `-m "not slow"` would leave out: the imports alone take longer than the rest."""
    leave_out = config.getoption("markexpr") == "not slow" and collection_path.is_relative_to(TESTS)
    return True if leave_out and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in `SLOW`."""
    for item in items:
        if is_slow(item.path):
            item.add_marker("slow")


TEXT_MODEL = {
    "vocab_size": 500,  # the tokenizer has 486 tokens: the last 14 ids must never be sampled
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "bos_token_id": None,
}


@pytest.fixture(autouse=True)
def _our_warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", GroundRLWarning)
        yield


@pytest.fixture(scope="session")
def tiny_vl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Qwen3-VL folder with random weights, saved by transformers."""
    folder = tmp_path_factory.mktemp("models") / "tiny_vl"
    build_tiny_qwen3_vl(folder, num_hidden_layers=2)
    return folder


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`text_model(config)`: a folder of that architecture with random weights and the tiny tokenizer."""
    from transformers import AutoModelForCausalLM

    def build(config, *, chat_template: bool = True) -> Path:
        folder = tmp_path_factory.mktemp("models") / config.model_type
        tokenizer = build_tokenizer()
        if not chat_template:
            tokenizer.chat_template = None
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return build


@pytest.fixture(scope="session")
def tiny_text(text_model) -> Path:
    """A two-layer Llama folder with the tiny tokenizer and its chat template."""
    from transformers import LlamaConfig

    return text_model(LlamaConfig(**TEXT_MODEL))


@pytest.fixture
def vl_policy(tiny_vl: Path) -> Policy:
    return Policy.load(tiny_vl)


@pytest.fixture
def text_policy(tiny_text: Path) -> Policy:
    return Policy.load(tiny_text)


@pytest.fixture(scope="session")
def image() -> Callable[..., ImageRef]:
    """`image(seed, width, height)`: random pixels as PNG bytes."""

    def make(seed: int = 0, width: int = 48, height: int = 32) -> ImageRef:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="png")
        return ImageRef(source=buffer.getvalue(), width=width, height=height)

    return make


@pytest.fixture(scope="session")
def vl_examples(image) -> list[Example]:
    """Ragged prompts: one image, two of different sizes, none."""
    return [
        Example(id="one", prompt="Describe the image.", images=(image(1),), answer="No nuclei."),
        Example(
            id="two", prompt="First <image>, then <image>. How many?", images=(image(2), image(3, 32, 64)), answer="2"
        ),
        Example(id="none", prompt="yes or no?", answer="yes"),
        Example(
            id="long", prompt="How many nuclei are in the image?" * 3, images=(image(4, 64, 64),), answer="3, all small"
        ),
    ]


@pytest.fixture(scope="session")
def text_examples() -> list[Example]:
    """Ragged text prompts with answers."""
    texts = [
        ("yes or no?", "yes"),
        ("How many nuclei are in the image? " * 3, "4"),
        ("Write a report.", "Nothing to see."),
    ]
    return [Example(id=f"t{k}", prompt=prompt, answer=answer) for k, (prompt, answer) in enumerate(texts)]


@reward
def share_of_even_ids(completion: Completion, example: Example) -> float:
    """Differs between the answers of a group, whatever the model."""
    return sum(token % 2 == 0 for token in completion.token_ids) / len(completion.token_ids)


@pytest.fixture(scope="session")
def even_ids() -> Reward:
    return share_of_even_ids


PNG = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x09\0\0\0\x07\x08\x02\0\0\0U\xf9\xf07"
    b"\0\0\0\x0cIDATx\x9cc`\x18\xfa\0\0\0\xc4\0\1S\xb5\rB\0\0\0\0IEND\xaeB`\x82"
)
DAMAGED = {  # by what Pillow 12 raises for it
    "ValueError": PNG[:11] + b"\0" + PNG[12:],  # the header has no bytes
    "SyntaxError": PNG[:36] + b"\0" + PNG[37:],  # the pixels have none, so that they are read as the next part
    "DecompressionBombError": b"P6 99999 99999 255\n",
    "OSError": b"P6 9 7 255\n",
}


@pytest.fixture(params=DAMAGED.values(), ids=DAMAGED.keys())
def damaged_picture(request: pytest.FixtureRequest) -> bytes:
    """A file of 9 x 7 pixels at which Pillow raises the error of the test's name."""
    content: bytes = request.param
    return content
