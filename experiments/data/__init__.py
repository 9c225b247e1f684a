"""Data: what ships (`cells`, `crops`) and how a user's own is read (`jsonl`, `coco`); `load_source` picks by name."""

from groundrl.experiments.data.formats.coco import CocoSource
from groundrl.experiments.data.formats.jsonl import JsonlSource
from groundrl.experiments.data.shipped.cells import RenderedCells
from groundrl.experiments.data.shipped.crops import NucleiCrops
from groundrl.experiments.data.sources import load_source

__all__ = ["CocoSource", "JsonlSource", "NucleiCrops", "RenderedCells", "load_source"]
