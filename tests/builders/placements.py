"""Placement as text: the graph before, a target, the graph after, without weights' nodes and scales."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from onnx import numpy_helper

from onnxcompress.graph import in_scope, label
from onnxcompress.passes.quantization.edit import Editor
from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.placement.plan import Plan, Request
from onnxcompress.passes.quantization.scales import Grid
from onnxcompress.shapes import infer
from onnxcompress.targets import load_target

Sizes = Mapping[str, tuple[int, ...]]


def model_with(text: str, sizes: Sizes, opset: int = 20) -> ir.Model:
    """The model in ONNX's text format, with seeded weights of the given sizes."""
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]>' + text)
    rng = np.random.default_rng(3)
    arrays = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    proto.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    onnx.checker.check_model(proto, full_check=True)
    return ir.from_proto(proto)


def plan_of(model: ir.Model, target: str, islands: tuple[str, ...] = ()) -> Plan:
    """Where `target` wants pairs in `model`."""
    return place(Request(model.graph, load_target(target), infer(model), in_scope(model), islands=islands))


def reasons(model: ir.Model, target: str, islands: tuple[str, ...] = ()) -> dict[str, str]:
    """Reason codes of the products that stay float, by the name of their output."""
    return {
        node.outputs[0].name or label(node): code for node, (code, _) in plan_of(model, target, islands).left.items()
    }


def scales(model: ir.Model, target: str) -> set[frozenset[str]]:
    """The groups of tensors that share one scale; those of one tensor are left out."""
    return {frozenset(names) for names in plan_of(model, target).members().values() if len(names) > 1}


def placed(model: ir.Model, target: str, islands: tuple[str, ...] = ()) -> list[str]:
    """The nodes after the edit, one a line: ``x'`` is the tensor x after its pair, or the constant x as integers."""
    plan = plan_of(model, target, islands)
    grid = Grid(np.array(1.0, np.float32), np.array(0, load_target(target).activation_dtype))
    Editor(model, load_target(target)).apply(plan, dict.fromkeys(plan.members(), grid))
    onnx.checker.check_model(ir.to_proto(model))
    lines: list[str] = []
    for node in model.graph:
        names = [_short(v.name if v is not None else "") for v in node.inputs]
        out = ", ".join(_short(v.name) for v in node.outputs)
        if node.op_type == "QuantizeLinear":
            lines.append(f"{_short(next(iter(node.outputs[0].uses())).node.outputs[0].name)} = QDQ({names[0]})")
        elif node.op_type != "DequantizeLinear":
            lines.append(f"{out} = {node.op_type}({', '.join(names)})")
    return lines


def _short(name: str | None) -> str:
    return re.sub("_dequantized$", "'", name or "")


def lines(text: str) -> list[str]:
    """An expected text, one node a line."""
    return [line.strip() for line in text.strip().splitlines()]
