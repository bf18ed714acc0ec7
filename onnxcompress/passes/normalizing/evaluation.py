"""One node on its own: how large its results would be, and what they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common

from onnxcompress.errors import CompressError
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions


def output_bytes(node: ir.Node, inputs: Sequence[ir.TensorProtocol | None], model: ir.Model) -> int | None:
    """Bytes of all results of `node`, by ONNX's shape inference, before anything is computed.

    Args:
        node: The node; not edited.
        inputs: Its inputs as tensors; None for an optional input left out.
        model: Where it comes from; tells operator sets and IR version.

    Returns:
        The size, or None where inference cannot tell it.
    """
    trial = _alone(node, inputs, model)
    common.ShapeInferencePass(check_type=False, strict_mode=False)(trial)
    sizes = [_bytes(value) for value in trial.graph.outputs]
    return None if None in sizes else sum(s for s in sizes if s is not None)


def evaluate(
    node: ir.Node,
    inputs: Sequence[ir.TensorProtocol | None],
    model: ir.Model,
    plain: Collection[ir.DataType],
) -> list[ir.TensorProtocol] | None:
    """Run `node` in ONNX Runtime, unoptimized, on one thread.

    Args:
        node: The node; not edited.
        inputs: Its inputs as tensors; None for an optional input left out.
        model: Where it comes from.
        plain: Element types that may come out.

    Returns:
        One tensor an output, or None where ONNX Runtime cannot run it or another type comes out.
    """
    try:
        found = Session(_alone(node, inputs, model), RuntimeOptions(threads=1), optimize=False).run({})
    except CompressError:  # no kernel for these types, or an invalid node: it stays as it is
        return None
    if any(getattr(array, "dtype", np.dtype(object)).kind not in "biuf" for array in found.values()):
        return None
    tensors = [ir.tensor(found[v.name], name=v.name) if v.name else ir.tensor(np.zeros(0)) for v in node.outputs]
    return tensors if all(t.dtype in plain for t in tensors) else None


def _alone(node: ir.Node, inputs: Sequence[ir.TensorProtocol | None], model: ir.Model) -> ir.Model:
    """A model of this node and its constants only."""
    constants = {id(t): _constant(f"i{n}", t) for n, t in enumerate(inputs) if t is not None}
    lone = ir.Node(
        node.domain,
        node.op_type,
        [None if t is None else constants[id(t)] for t in inputs],
        list(node.attributes.values()),
        outputs=[ir.Value(name=v.name) for v in node.outputs],
        version=node.version,
    )
    imports = {"": model.graph.opset_imports.get("", 1)}
    named = [v for v in lone.outputs if v.name]
    graph = ir.Graph([], named, nodes=[lone], initializers=list(constants.values()), opset_imports=imports, name="one")
    return ir.Model(graph, ir_version=model.ir_version)


def _constant(name: str, tensor: ir.TensorProtocol) -> ir.Value:
    shape = ir.Shape(tensor.shape.numpy())
    # A shell of its own: writing a model gives each tensor its value's name.
    shell = ir.tensor(tensor.numpy(), dtype=tensor.dtype, name=name)
    return ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=shell)


def _bytes(value: ir.Value) -> int | None:
    dims = None if value.shape is None else [d if isinstance(d, int) else None for d in value.shape]
    if dims is None or None in dims or value.dtype is None:
        return None
    return math.ceil(math.prod(d for d in dims if d is not None) * value.dtype.bitwidth / 8)
