"""One ONNX node with numbers: as a model of its own, for the table of ops that torch must repeat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

# Operator set of onnxruntime's own ops.
MS = "com.microsoft"


@dataclass(frozen=True)
class OpCase:
    """One node.

    Attributes:
        op: ONNX op type.
        feeds: Inputs that are samples, in the node's order; None for an absent one.
        opset: Of the default domain.
        domain: The node's domain.
        attributes: Of the node.
        known: Names of the inputs that are initializers instead.
        outputs: Number of outputs.
        smooth: Names of the inputs whose gradient finite differences must show.
        tolerance: Largest difference, relative to 1 + the value.
        steps: The result lies on a grid, and a `share` of its elements may be so many steps off.
        share: See there.
        reference: onnx's own reference decides, where ONNX Runtime has no such op.
    """

    op: str
    feeds: dict[str, np.ndarray | None]
    opset: int = 21
    domain: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    outputs: int = 1
    smooth: tuple[str, ...] = ()
    tolerance: float = 1e-4
    steps: int = 0
    share: float = 0.03
    reference: bool = False

    @property
    def given(self) -> dict[str, np.ndarray]:
        """The inputs that are there."""
        return {name: array for name, array in self.feeds.items() if array is not None}

    def model(self, *, double: bool = False) -> onnx.ModelProto:
        """The node as a model; `double` makes every float a float64."""
        arrays = {n: doubled(a) if double else a for n, a in self.given.items()}
        outputs = [f"y{i}" for i in range(self.outputs)]
        inputs = [name if array is not None else "" for name, array in self.feeds.items()]
        node = helper.make_node(self.op, inputs, outputs, name="it", domain=self.domain, **self.attributes)
        typed = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in arrays.items()
            if n not in self.known
        ]
        stored = [onnx.numpy_helper.from_array(arrays[n], n) for n in self.known]
        made = helper.make_graph(
            [node], "net", typed, [helper.make_empty_tensor_value_info(o) for o in outputs], stored
        )
        sets = [helper.make_opsetid("", self.opset), helper.make_opsetid(MS, 1)]
        return helper.make_model(made, opset_imports=sets, ir_version=10 if self.opset < 24 else 11)

    def samples(self, *, double: bool = False) -> dict[str, np.ndarray]:
        """What is fed."""
        return {n: doubled(a) if double else a for n, a in self.given.items() if n not in self.known}


def doubled(array: np.ndarray) -> np.ndarray:
    """float32 as float64, the rest as it is."""
    return array.astype(np.float64) if array.dtype == np.float32 else array


def numbers(*shape: int, seed: int = 0, low: float = -1.5, high: float = 1.5) -> np.ndarray:
    """Seeded float32 numbers."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def integers(*shape: int, seed: int = 0, low: int = 0, high: int = 255, kind: Any = np.int64) -> np.ndarray:
    """Seeded integers from `low` to below `high`."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(kind)
