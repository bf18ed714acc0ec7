"""Processor seconds that quantization takes to rewrite a large graph: all of insert-qdq but statistics and islands.

Graphs are generated: CNN chains with residual additions and concats, small weights. Each row is a number of nodes and a
target: placement, ranges from ready histograms, Q/DQ insertion, and what reads the graph around it.

    python benchmarks/rewriting.py [--nodes 1600,20000] [--target ort-x86-vnni,tensorrt] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import functools
import os
import pstats
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from onnxcompress.calibrators import FloatHistogram
from onnxcompress.graph import add_initializer, clone, in_scope
from onnxcompress.passes.quantization.edit import Editor, drop_unused
from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.placement.plan import Request
from onnxcompress.passes.quantization.ranges import Rule, grids
from onnxcompress.shapes import infer
from onnxcompress.targets import load_target

CHANNELS = 16


def graph_of(nodes: int) -> ir.Model:
    """A chain of blocks: two convolutions with a residual addition, or with a concat and a convolution behind it."""
    rng = np.random.default_rng(0)
    graph = ir.Graph([_tensor("x", ("N", CHANNELS, 8, 8))], [], nodes=[], opset_imports={"": 18}, name="chain")
    maker = _Maker(graph, rng)
    value, block = graph.inputs[0], 0
    while len(graph) < nodes:
        value = maker.residual(value) if block % 3 else maker.joined(value)
        block += 1
    graph.outputs.append(value)
    value.shape, value.type = ir.Shape(["N", CHANNELS, 8, 8]), ir.TensorType(ir.DataType.FLOAT)
    return ir.Model(graph, ir_version=9)


def _tensor(name: str, shape: tuple[int | str, ...]) -> ir.Value:
    return ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))


class _Maker:
    """Appends blocks to a graph."""

    def __init__(self, graph: ir.Graph, rng: np.random.Generator) -> None:
        self.graph, self.rng = graph, rng

    def residual(self, x: ir.Value) -> ir.Value:
        inner = self.node("Relu", [self.conv(x, CHANNELS)])
        return self.node("Relu", [self.node("Add", [self.conv(inner, CHANNELS), x])])

    def joined(self, x: ir.Value) -> ir.Value:
        inner = self.node("Relu", [self.conv(x, CHANNELS)])
        both = self.node("Concat", [x, inner], axis=ir.AttrInt64("axis", 1))
        return self.node("Relu", [self.conv(both, 2 * CHANNELS)])

    def conv(self, x: ir.Value, channels: int) -> ir.Value:
        weight = self.rng.normal(size=(CHANNELS, channels, 3, 3)).astype(np.float32)
        name = f"n{len(self.graph)}"
        constants = [
            add_initializer(self.graph, f"{name}_w", weight),
            add_initializer(self.graph, f"{name}_b", weight[:, 0, 0, 0].copy()),
        ]
        return self.node("Conv", [x, *constants], pads=ir.AttrInt64s("pads", [1, 1, 1, 1]))

    def node(self, op_type: str, inputs: list[ir.Value], **attributes: ir.Attr) -> ir.Value:
        name = f"n{len(self.graph)}"
        out = ir.Value(name=name)
        self.graph.append(
            ir.Node("", op_type, inputs, list(attributes.values()), outputs=[out], name=f"{name}_{op_type}")
        )
        return out


def rewriting(model: ir.Model, target_name: str) -> dict[str, float]:
    """Seconds by step; `model` is edited."""
    target = load_target(target_name)
    seconds: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = step()
        seconds[name] = time.process_time() - start
        return result

    table = timed("shapes", lambda: infer(model))
    request = Request(model.graph, target, table, in_scope(model))
    plan = timed("placement", lambda: place(request))
    hist = FloatHistogram()
    hist.update(np.random.default_rng(1).normal(size=(1, 4096)).astype(np.float32))
    found = dict.fromkeys(plan.members(), hist)
    chosen = timed("ranges", lambda: grids(plan, found, Rule("uniform", {}, target), table)[0])
    editor = timed("names", lambda: Editor(model, target, live=None))
    timed("insertion", lambda: editor.apply(plan, chosen))
    timed("unused", lambda: drop_unused(model))
    return seconds


def main() -> None:
    """Print one line a graph and target."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", default="1600,20000")
    parser.add_argument("--target", default="ort-x86-vnni,tensorrt,openvino,qnn")
    parser.add_argument("--profile", action="store_true", help="Show where the time goes.")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, seconds of processor time, medians of 3 runs")
    for nodes in map(int, options.nodes.split(",")):
        model = graph_of(nodes)
        for target in options.target.split(","):
            profile = cProfile.Profile(builtins=False)
            run = functools.partial(profile.runcall, rewriting) if options.profile else rewriting
            runs = [run(clone(model), target) for _ in range(1 if options.profile else 3)]
            total = statistics.median(sum(run.values()) for run in runs)
            steps = "  ".join(f"{name} {statistics.median(run[name] for run in runs):.2f}" for name in runs[0])
            print(f"{nodes:6d} nodes  {target:13}  {total:6.2f} s   ({steps})")
            if options.profile:
                pstats.Stats(profile).sort_stats("tottime").print_stats(14)


if __name__ == "__main__":
    main()
