"""Low-rank adapters (LoRA) inside a policy's model, through peft: added, switched, and merged for export."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor, nn

from groundrl.rollout.model.private import LoraLayer, LoraModel, ModulesToSaveWrapper, dequantize_module_weight
from groundrl.rollout.settings import LoraSettings

POLICY = "policy"  # the adapter that samples and learns; a critic may have one of its own


class Adapters:
    """The adapters built into one model's own modules; none at first. One of them is `active` at a time, or none.

    peft freezes the adapters that rest; here they stay trainable: their gradients and optimisers live on.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.tuner: Any = None
        self.active: str | None = None
        self._trained: list[nn.Parameter] = []

    def add(self, name: str, settings: LoraSettings, *, seed: int) -> None:
        """Add an adapter, drawn from `seed`; the first is active. The model's own weights are frozen from now on."""
        config: Any = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,  # type: ignore[arg-type]  # a factor: any number will do
            lora_dropout=settings.dropout,
            target_modules=self._targets(settings.targets),
            modules_to_save=self._whole(settings.modules_to_save),
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if self.tuner is None:
                self.tuner = LoraModel(self.model, config, name)
            else:
                self.tuner.peft_config[name] = config
                self.tuner.inject_adapter(self.model, name)
        self.model.train(self.model.training)  # new dropout as the rest
        added = self.parameters(name).values()
        for parameter in added:  # peft makes them as what they stand on is stored, where small updates would be lost
            parameter.data = parameter.data.float()
        self._trained += added
        self._switch(self.active or name)

    @contextmanager
    def only(self, name: str | None) -> Iterator[None]:
        """Inside, this adapter is active and no other; None: the model as it was without any."""
        before = self.active
        self._switch(name)
        try:
            yield
        finally:
            self._switch(before)

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """What is trained in an adapter, by its names in the model."""
        return {key: parameter for key, parameter in self.model.named_parameters() if f".{name}." in key}

    def load(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Put what `parameters` named back into an adapter. ValueError where the tensors are not this adapter's."""
        parameters = self.parameters(name)
        shapes = {key: parameter.shape for key, parameter in parameters.items()}
        if shapes != {key: tensor.shape for key, tensor in tensors.items()}:
            raise ValueError(
                "the checkpoint holds another adapter than model.lora describes: its settings have changed"
            )
        with torch.no_grad():
            for key, parameter in parameters.items():
                parameter.copy_(tensors[key])

    def merged(self, name: str) -> Mapping[str, Tensor]:
        """The state dict of the plain model that answers as this one does with the adapter `name`, made on access."""
        return _Merged(self.model, name)

    def _switch(self, name: str | None) -> None:
        self.active = name
        for module in self.model.modules():
            if isinstance(module, LoraLayer):
                module.enable_adapters(name is not None)
                module.set_adapter([name] if name is not None else [])
            elif isinstance(module, ModulesToSaveWrapper):
                here = name if name is not None and name in module.modules_to_save else None
                module.enable_adapters(here is not None)
                if here is not None:
                    module.set_adapter(here)
        for parameter in self._trained:
            parameter.requires_grad_(True)

    def _targets(self, targets: str | Sequence[str]) -> list[str]:
        """The modules that get an adapter, by their names before any was added."""
        modules = {key.replace(".base_layer", ""): module for key, module in self.model.named_modules()}
        modules = {key: module for key, module in modules.items() if ".lora_" not in key}
        if targets in ("language", "all"):
            root = self.model if targets == "all" else self.model.get_decoder()
            inside = {id(module) for module in root.modules()} - {id(self.model.get_output_embeddings())}
            found = [key for key, module in modules.items() if isinstance(module, nn.Linear) and id(module) in inside]
        else:
            found = [targets] if isinstance(targets, str) else list(targets)
            for target in found:
                if not any(f".{key}".endswith(f".{target}") for key in modules):
                    raise ValueError(f"lora.targets: the model has no module {target!r}; give language, all, or names")
        if not found:
            raise ValueError(f"lora.targets: {type(self.model).__name__} has no linear layers there; give their names")
        return found

    def _whole(self, names: Sequence[str]) -> list[str] | None:
        """The modules that are trained whole. Not one whose weights are another's too: they would drift apart."""
        tables = [self.model.get_input_embeddings(), self.model.get_output_embeddings()]
        for name in names:
            found = [module for key, module in self.model.named_modules() if key.rpartition(".")[2] == name]
            if not found:
                raise ValueError(f"lora.modules_to_save: the model has no module {name!r}")
            if tables[0].weight is tables[1].weight and any(module is table for module in found for table in tables):
                raise ValueError(f"lora.modules_to_save: the model's embedding and head are one, leave {name!r} out")
        return list(names) or None


class _Merged(Mapping[str, Tensor]):
    """Lazy: nobody wants a second copy of a large model in memory to look at one weight."""

    def __init__(self, model: nn.Module, adapter: str) -> None:
        self.adapter = adapter
        self._modules = dict(model.named_modules())
        self._tensors: dict[str, Tensor] = model.state_dict()
        self._inner: dict[str, str] = {}  # plain name to the name in `model`
        for key in self._tensors:
            if key.rpartition(".")[0] in self._modules and ".lora_" not in key:  # quantisation's tensors have no module
                plain = key
                for wrapping in ("base_layer", "original_module", f"modules_to_save.{adapter}"):
                    plain = plain.replace(f".{wrapping}.", ".")
                self._inner[plain] = key  # a module trained whole comes after its original, and replaces it

    @torch.no_grad()
    def __getitem__(self, key: str) -> Tensor:
        inner = self._inner[key]
        path, _, leaf = inner.rpartition(".")
        if leaf != "weight":
            return self._tensors[inner]
        weight: Tensor = dequantize_module_weight(self._modules[path]).detach().float()  # it may be kept in less
        layer: Any = self._modules.get(path.removesuffix(".base_layer"))
        if isinstance(layer, LoraLayer) and self.adapter in layer.r:
            weight = weight + layer.get_delta_weight(self.adapter)  # type: ignore[attr-defined]  # each kind has it
        return weight

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)
