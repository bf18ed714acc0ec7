from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
from builders.equality import run

from onnxcompress.testing import random_feeds, random_model


def test_every_model_is_valid_runs_and_keeps_its_declared_shapes() -> None:
    operators: Counter[str] = Counter()
    for seed in range(60):
        model = random_model(seed)
        proto = ir.to_proto(model)
        onnx.checker.check_model(proto, full_check=True)
        outputs = run(proto, random_feeds(model, seed, batch=3))
        for value, array in zip(model.graph.outputs, outputs, strict=True):
            declared = [d if isinstance(d, int) else len(array) for d in value.shape]
            assert list(array.shape) == declared
            assert np.isfinite(array).all()
        operators.update(node.op_type for node in proto.graph.node)
    assert len(operators) >= 40


def test_a_model_depends_on_its_seed_only() -> None:
    first, again, other = (ir.to_proto(random_model(n)).SerializeToString() for n in (5, 5, 6))
    assert first == again
    assert first != other


def test_steps_set_the_size() -> None:
    assert len(random_model(1, steps=1).graph) < len(random_model(1, steps=40).graph)


def test_dynamic_and_fixed_batches_both_come() -> None:
    batches = {type(random_model(n).graph.inputs[0].shape[0]) for n in range(12)}
    assert batches == {int, ir.SymbolicDim}
