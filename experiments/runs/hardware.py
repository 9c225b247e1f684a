"""The devices and processes of a run, as Lightning's Trainer (SFT) and Fabric (RL) take them alike."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any, Literal

import torch
from lightning.fabric import Fabric

from groundrl.experiments.config.run import ConfigError, RunConfig


def lightning_hardware(config: RunConfig) -> dict[str, Any]:
    """The devices of Trainer and Fabric alike; under torchrun its processes, else `hardware.devices`."""
    hardware = config.hardware
    devices = int(os.environ.get("LOCAL_WORLD_SIZE", hardware.devices))
    nodes = int(os.environ.get("WORLD_SIZE", devices)) // devices
    strategy = hardware.strategy
    if strategy == "auto" and devices * nodes > 1:
        strategy = "ddp_find_unused_parameters_true"  # text alone leaves a vision tower without gradients
    return {"accelerator": hardware.accelerator, "devices": devices, "num_nodes": nodes, "strategy": strategy}


def quiet_libraries() -> None:
    """No advertisements, no second progress bar, no deprecation inside a library; other warnings stay."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    warnings.filterwarnings("ignore", message=r".*LeafSpec.* is deprecated", module=r"lightning\.")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)


def make_fabric(config: RunConfig) -> Fabric:
    """Fabric for the RL loop, launched; several processes come from torchrun."""
    if config.hardware.devices > 1 and "LOCAL_WORLD_SIZE" not in os.environ:
        raise ConfigError(
            f"hardware.devices is {config.hardware.devices}: start the processes with "
            f"`torchrun --nproc-per-node {config.hardware.devices} -m groundrl.experiments.cli train ...`"
        )
    if config.hardware.threads is not None:
        torch.set_num_threads(config.hardware.threads)
    quiet_libraries()
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed" if config.model.dtype == "bfloat16" else "32-true"
    fabric = Fabric(**lightning_hardware(config), precision=precision)
    fabric.launch()
    return fabric
