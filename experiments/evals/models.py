"""What answers: a Hugging Face folder or id, a run's checkpoint, the embedded base, or a model behind an endpoint."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from groundrl.experiments.config.run import ConfigError
from groundrl.experiments.evals.config import EndpointConfig
from groundrl.rollout.model.loading import Precision
from groundrl.rollout.sampling.engine import Engine

SERVED = re.compile(r"(?P<model>[^@\s]+)@(?P<url>https?://\S+)")


def open_engine(
    model: str,
    *,
    batch_size: int,
    dtype: Precision = "float32",
    endpoint: EndpointConfig = EndpointConfig(),  # noqa: B008
) -> Engine:
    """The engine of a model: `base`, a folder or id, a run's folder or name, or `NAME@http://host:8000/v1`.

    Qwen-VL and text models are sampled by the local engine, other vision families by their own transformers classes.
    """
    from groundrl.rollout.model.loading import best_device
    from groundrl.rollout.model.policy import Policy
    from groundrl.rollout.model.storage import store_frozen_in_bfloat16
    from groundrl.rollout.sampling.engines import Local

    if (served := SERVED.fullmatch(model)) is not None:
        from groundrl.rollout.sampling.endpoint import EndpointEngine

        return EndpointEngine(model=served["model"], base_url=served["url"], **endpoint.model_dump())
    path = checkpoint_of(model)
    if _other_family(path):
        from groundrl.rollout.sampling.families import FamilyEngine

        return FamilyEngine.load(path, dtype=dtype, max_rows=batch_size)
    policy = Policy.load(path, dtype=dtype)
    policy.model.requires_grad_(False)
    store_frozen_in_bfloat16(policy, exported=False)
    policy.model.to(best_device())
    return Local(max_rows=batch_size).build(policy)


def weights_stamp(model: str) -> str | None:
    """A fingerprint of a local model's files (names, sizes, times), so that no evaluation mixes two states of one."""
    folder = Path(checkpoint_of(model)) if SERVED.fullmatch(model) is None else None
    if folder is None or not folder.is_dir():
        return None
    files = sorted(file for file in folder.iterdir() if file.is_file())
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.blake2b(repr(stats).encode(), digest_size=8).hexdigest()


def checkpoint_of(model: str) -> str:
    """The Hugging Face folder or id that a name stands for."""
    from groundrl.experiments.config.model import BASE
    from groundrl.experiments.runs.reader import RUNS, Run

    if model == "base":
        return str(BASE)
    for path in (Path(model), RUNS / model):
        if (path / "config.yaml").is_file():
            return str(Run(path).checkpoint())
    if not Path(model).exists() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise ConfigError(f"there is no model {model}: give a Hugging Face folder or id, a run, or NAME@http://.../v1")
    return model


def boxes_of(model: str) -> str:
    """`model.boxes` of the run that a model's name stands for; `as_data` for what is no run."""
    from groundrl.experiments.runs.reader import RUNS, Run

    for path in (Path(model), RUNS / model):
        if (path / "config.yaml").is_file():
            return Run(path).config.model.boxes
    return "as_data"


def _other_family(path: str) -> bool:
    """Whether a checkpoint is of a vision architecture that the local engine does not know."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be loaded as a Hugging Face checkpoint: {error}") from error
    if not hasattr(config, "vision_config"):
        return False
    return not config.model_type.startswith(("qwen2_vl", "qwen2_5_vl", "qwen3_vl"))
