"""--until: the part before a tensor is compared and trained, the rest of the file stays."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.distill_models import array, node_list, pictures, residual, with_cut_blocks

from onnxcompress.distill.bridge import Bridge
from onnxcompress.distill.distillation import Job, distill
from onnxcompress.distill.settings import Settings
from onnxcompress.errors import UsageError
from onnxcompress.runtime_options import RuntimeOptions

UNTIL = Settings(steps=20, batch_size=32, rate=3e-3, until=("block2",), accept_worse=True)


def with_unknown_end(made: ir.Model) -> ir.Model:
    """The model, with an operator behind its logits that nobody has."""
    node = ir.Node("acme", "Frobnicate", [made.graph.outputs[0]], num_outputs=1, name="frob")
    node.outputs[0].name, node.outputs[0].type = "result", ir.TensorType(ir.DataType.FLOAT)
    made.graph.append(node)
    made.graph.outputs[:] = [node.outputs[0]]
    made.graph.opset_imports["acme"] = 1
    return made


def job(student: ir.Model, teacher: ir.Model, settings: Settings) -> Job:
    return Job(student, teacher, pictures(400), None, settings, RuntimeOptions(threads=1))


def test_what_comes_after_stays_whatever_its_operators() -> None:
    teacher = with_unknown_end(residual())
    student = with_cut_blocks(teacher, 5)
    before = {n: array(student, n).copy() for n in student.graph.initializers}
    nodes, outputs = node_list(student), [v.name for v in student.graph.outputs]
    (told,) = [f for f in distill(job(student, teacher, UNTIL)) if f.code == "DISTILL-TRAINED"]
    assert float(told.numbers["error_after"]) < float(told.numbers["error_before"])
    changed = {n for n, a in before.items() if not np.array_equal(array(student, n), a)}
    assert {"w0", "w4", "bias4"} <= changed
    assert not {"wf", "bf"} & changed
    assert node_list(student) == nodes
    assert [v.name for v in student.graph.outputs] == outputs


def test_only_what_the_tensors_need_is_looked_at() -> None:
    bridge = Bridge(with_unknown_end(residual()), until=["n1", "c2"])
    feeds = pictures(2).read(range(2))
    module = bridge.specialise(feeds)
    assert set(module.run(feeds)) == {"n1", "c2"}
    assert "s1" not in module.sizes
    assert "w3" not in {w.name for w in bridge.weights}


@pytest.mark.parametrize(("name", "why"), [("blok2", "block2"), ("zzz", "inspect")])
def test_a_name_that_is_no_tensor_is_refused_with_the_nearest(name: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        Bridge(residual(), until=[name])
    assert why in (caught.value.hint or "")
    assert caught.value.code == "USAGE-UNTIL"


def test_a_teacher_without_that_tensor_is_refused() -> None:
    student, teacher = residual(), residual()
    for node in teacher.graph:
        if node.outputs[0].name == "block2":
            node.outputs[0].name = "elsewhere"
    with pytest.raises(UsageError, match="no node of the teacher makes a tensor 'block2'"):
        distill(job(student, teacher, UNTIL))
