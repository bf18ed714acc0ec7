"""Random models that are valid by construction: typed, seeded, and small enough to run by the hundred.

More than forty operator types: convolutions of every form, matrix products, normalizations, broadcasts, movements of
data, pools, recurrent layers, shared weights, constants as nodes, branches, and several inputs and outputs. Needs
numpy, onnx_ir and ONNX Runtime only.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from onnxcompress.testing import random_moves as moves
from onnxcompress.testing import random_ops as ops
from onnxcompress.testing.random_builder import BATCH, Builder

Step = Callable[[Builder], ir.Value | None]

# What stands here twice is drawn twice as often.
_STEPS: tuple[Step, ...] = (
    ops.conv,
    ops.conv,
    ops.conv_batchnorm,
    ops.conv_batchnorm,
    ops.shared_conv,
    ops.conv_transpose,
    ops.batchnorm,
    ops.layernorm,
    ops.gemm,
    ops.gemm,
    ops.matmul,
    ops.attention,
    ops.residual,
    ops.residual,
    ops.broadcast,
    ops.activation,
    ops.activation,
    ops.clip,
    ops.softmax,
    ops.recurrent,
    ops.branch,
    moves.concat,
    moves.split,
    moves.slices,
    moves.gather,
    moves.flatten,
    moves.transpose,
    moves.to_sequence,
    moves.unsqueeze,
    moves.pool,
    moves.reduce,
    moves.resize,
    moves.pad,
)
_TABLE_ROWS = 11
_MOST_OUTPUTS = 3


def random_model(seed: int, *, steps: int | None = None) -> ir.Model:
    """A model that depends on `seed` and `steps` only.

    Args:
        seed: Any whole number from 0.
        steps: How many times an operator is drawn; 4 to 16 by chance where not given.

    Returns:
        A model with one or two float inputs whose first axis is the batch (dynamic in every other model), now and
        then an int64 input of token ids, and one to three float outputs.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    b = Builder(rng, opset=int(rng.choice([17, 18, 20, 21])), dynamic=bool(rng.random() < 0.5))
    _add_inputs(b)
    for _ in range(int(rng.integers(4, 17)) if steps is None else steps):
        _STEPS[int(rng.integers(len(_STEPS)))](b)
    return _finish(b, seed)


def random_feeds(model: ir.Model, seed: int = 0, *, batch: int = BATCH) -> dict[str, np.ndarray]:
    """Inputs for a model of `random_model`; int64 inputs are ids in the range of its table.

    Args:
        model: The model; a dynamic first axis becomes `batch`.
        seed: Seed of the numbers.
        batch: Samples, where the model leaves that open.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    return {value.name or "": _feed(value, rng, batch) for value in model.graph.inputs}


def _feed(value: ir.Value, rng: np.random.Generator, batch: int) -> np.ndarray:
    assert value.shape is not None
    shape = tuple(d if isinstance(d, int) else batch for d in value.shape)
    if value.dtype == ir.DataType.INT64:
        return rng.integers(_TABLE_ROWS, size=shape)
    return rng.normal(size=shape).astype(np.float32)


def _add_inputs(b: Builder) -> None:
    size = b.among(6, 8)
    b.input((BATCH, b.among(2, 3, 4), size, size))
    if b.chance(0.4):
        b.input((BATCH, b.among(3, 6)))
    if b.chance(0.2):
        b.input((BATCH, b.among(3, 5), b.among(2, 4)))
    if b.chance(0.2):
        _add_embedding(b)


def _add_embedding(b: Builder) -> None:
    ids = b.input((BATCH, 3), ir.DataType.INT64)
    (rows,) = b.node("Gather", [b.normal(_TABLE_ROWS, 4), ids], axis=0)
    b.keep(rows, (BATCH, 3, 4))


def _finish(b: Builder, seed: int) -> ir.Model:
    """Unread tensors become the outputs, the last made first; an input that nothing reads gets a reader."""
    candidates = [v for v in reversed(b.alive) if not v.uses() and v.producer() is not None]
    if not candidates:
        value, shape = next(iter(b.alive.items()))
        candidates = [b.keep(b.node("Relu", [value])[0], shape)]
    outputs = candidates[:_MOST_OUTPUTS]
    for value in outputs:
        shape = b.alive[value]
        value.type = ir.TensorType(ir.DataType.FLOAT)
        value.shape = ir.Shape(["N" if b.dynamic else BATCH, *shape[1:]])
    imports = {"": b.opset}
    graph = ir.Graph(
        b.inputs, outputs, nodes=b.nodes, initializers=list(b.weights.values()), opset_imports=imports, name=f"r{seed}"
    )
    return ir.Model(graph, ir_version=10, producer_name="onnxcompress.testing")
