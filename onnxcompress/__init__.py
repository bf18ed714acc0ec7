"""Compress ONNX models at graph level: prune, quantize, distill. Public names load on first use (PEP 562)."""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnxcompress.api import auto, distill, prune, quantize, reconstruct
    from onnxcompress.comparing import compare
    from onnxcompress.data import DataSource, open_data
    from onnxcompress.errors import CompressError
    from onnxcompress.manager import PassManager
    from onnxcompress.model_io import load, save
    from onnxcompress.passes.base import Context, Effect, Pass
    from onnxcompress.passes.convert_float import ConvertFloat
    from onnxcompress.passes.correct_bias import CorrectBias
    from onnxcompress.passes.distill import Distill
    from onnxcompress.passes.equalize import Equalize
    from onnxcompress.passes.fold_batchnorm import FoldBatchNorm
    from onnxcompress.passes.insert_qdq import InsertQDQ
    from onnxcompress.passes.normalize import Normalize
    from onnxcompress.passes.prune_blocks import PruneBlocks
    from onnxcompress.passes.prune_channels import PruneChannels
    from onnxcompress.passes.prune_weights import PruneWeights
    from onnxcompress.passes.quantize_dynamic import QuantizeDynamic
    from onnxcompress.passes.quantize_weights import QuantizeWeights
    from onnxcompress.passes.reconstruct import Reconstruct
    from onnxcompress.passes.remove_qdq import RemoveQDQ
    from onnxcompress.passes.round_weights import RoundWeights
    from onnxcompress.passes.self_compress import SelfCompress
    from onnxcompress.report import Finding, Report
    from onnxcompress.result import Result

__version__ = "0.1.0"

_HOMES = {
    "CompressError": "errors",
    "RoundWeights": "passes.round_weights",
    "RemoveQDQ": "passes.remove_qdq",
    "QuantizeDynamic": "passes.quantize_dynamic",
    "PruneBlocks": "passes.prune_blocks",
    "CorrectBias": "passes.correct_bias",
    "ConvertFloat": "passes.convert_float",
    "Context": "passes.base",
    "DataSource": "data",
    "Distill": "passes.distill",
    "Effect": "passes.base",
    "Finding": "report",
    "Equalize": "passes.equalize",
    "FoldBatchNorm": "passes.fold_batchnorm",
    "InsertQDQ": "passes.insert_qdq",
    "Normalize": "passes.normalize",
    "Pass": "passes.base",
    "PassManager": "manager",
    "PruneChannels": "passes.prune_channels",
    "PruneWeights": "passes.prune_weights",
    "QuantizeWeights": "passes.quantize_weights",
    "Reconstruct": "passes.reconstruct",
    "Report": "report",
    "Result": "result",
    "SelfCompress": "passes.self_compress",
    "auto": "api",
    "compare": "comparing",
    "distill": "api",
    "reconstruct": "api",
    "load": "model_io",
    "open_data": "data",
    "prune": "api",
    "quantize": "api",
    "save": "model_io",
}

__all__ = [
    "CompressError",
    "Context",
    "ConvertFloat",
    "CorrectBias",
    "DataSource",
    "Distill",
    "Effect",
    "Equalize",
    "Finding",
    "FoldBatchNorm",
    "InsertQDQ",
    "Normalize",
    "Pass",
    "PassManager",
    "PruneBlocks",
    "PruneChannels",
    "PruneWeights",
    "QuantizeDynamic",
    "QuantizeWeights",
    "Reconstruct",
    "RemoveQDQ",
    "Report",
    "Result",
    "RoundWeights",
    "SelfCompress",
    "__version__",
    "auto",
    "compare",
    "distill",
    "load",
    "open_data",
    "prune",
    "quantize",
    "reconstruct",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxcompress' has no attribute {name!r}")
    return getattr(importlib.import_module(f"onnxcompress.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(types.ModuleType):
    """This module's class: `onnxcompress.distill` is the function, also after the room of that name was imported."""

    @property
    def distill(self) -> Any:
        """The function of `onnxcompress.api`; Python would put the sub-package in its place."""
        return __getattr__("distill")

    @distill.setter
    def distill(self, room: types.ModuleType) -> None:
        """Importing a sub-package assigns it to its parent; ``from onnxcompress.distill import`` still finds it."""


sys.modules[__name__].__class__ = _Package
