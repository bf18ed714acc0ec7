"""How near `--target-latency` lands, and what half of the multiply-adds are worth in time.

    python benchmarks/latency_target.py [--out docs/results/latency_target.md] [--sizes 112,224] [--threads N]

The networks are of ResNet-18's shape, with random weights (time does not depend on them): 112 and 224 pixels. Each cut
is timed beside the original once more, after the fact: sessions with spinning off, paired and interleaved, medians,
with an A/A run beside them. Load is printed, because a busy machine shows in the A/A spread.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx_ir as ir

import onnxcompress as oc
from onnxcompress import model_io
from onnxcompress.cost import costs
from onnxcompress.runtime import batch_for, latency
from onnxcompress.runtime_options import RuntimeOptions
from onnxcompress.shapes import probe_feeds

GOALS = ("target_latency=0.8x", "target_latency=0.6x", "target_latency=0.4x", "target_macs=0.5x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write the table there too")
    parser.add_argument("--sizes", default="112,224", help="pixels a side")
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    load = os.getloadavg()[0]
    lines = [
        "| input | asked | MACs kept | ms before | ms after | time kept | A/A spread | seconds |",
        "|" + "---|" * 8,
    ]
    with tempfile.TemporaryDirectory() as folder:
        for size in map(int, given.sizes.split(",")):
            path = Path(folder) / f"resnet18_{size}.onnx"
            model_io.save(resnet18(size), path)
            lines += [row(path, size, goal, given.threads) for goal in GOALS]
    text = f"Load at start {load:.2f}, threads {given.threads or 'default'}.\n\n" + "\n".join(lines) + "\n"
    print(text)
    if given.out:
        title = "# How near --target-latency lands\n\nMeasured by `python benchmarks/latency_target.py`.\n\n"
        given.out.write_text(title + text, encoding="utf-8")


def row(path: Path, size: int, goal: str, threads: int) -> str:
    """One cut, and its time measured anew."""
    key, _, value = goal.partition("=")
    start = time.perf_counter()
    options = RuntimeOptions(threads=threads)
    result = oc.prune(path, runtime=options, allow_miss=True, **{key: value})
    seconds = time.perf_counter() - start
    original = model_io.load(path)
    feeds = batch_for(original, probe_feeds(original, batch=1), options=options)
    found = latency({"before": original, "after": result.model}, feeds, options=options)
    kept = costs(result.model).macs / costs(original).macs
    time_kept = 1.0 / found.ratio["after"]
    told = goal.replace("target_", "--target-").replace("=", " ")
    return (
        f"| {size} | `{told}` | {kept:.2f} | {found.ms['before']:.1f} | {found.ms['after']:.1f} | {time_kept:.2f} | "
        f"{found.spread:.1%} | {seconds:.0f} |"
    )


def resnet18(size: int) -> ir.Model:
    """The shape of ResNet-18 (He et al. 2016) without BatchNormalization, which runtimes fold away."""
    net = _Net(np.random.default_rng(0))
    x = ir.Value(name="input", shape=ir.Shape(["N", 3, size, size]), type=ir.TensorType(ir.DataType.FLOAT))
    y = net.op("MaxPool", [net.conv(x, 3, 64, 7, 2)], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    width = 64
    for channels, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for step in (stride, 1):
            inner = net.conv(y, width, channels, 3, step)
            outer = net.conv(inner, channels, channels, 3, 1, act=False)
            short = y if step == 1 and width == channels else net.conv(y, width, channels, 1, step, act=False)
            y, width = net.op("Relu", [net.op("Add", [outer, short])]), channels
    flat = net.op("Flatten", [net.op("GlobalAveragePool", [y])])
    out = net.op("Gemm", [flat, net.weight(512, 1000), net.weight(1000)])
    out.name, out.shape, out.type = "output", ir.Shape(["N", 1000]), ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], [out], nodes=net.nodes, initializers=net.weights, opset_imports={"": 17}, name="resnet18")
    return ir.Model(graph, ir_version=9)


class _Net:
    """Collects nodes and weights."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self.nodes: list[ir.Node] = []
        self.weights: list[ir.Value] = []

    def op(self, kind: str, inputs: list[ir.Value], **attributes: list[int]) -> ir.Value:
        attrs = [ir.AttrInt64s(name, value) for name, value in attributes.items()]
        output = ir.Value(name=f"v{len(self.nodes)}")
        self.nodes.append(ir.Node("", kind, inputs, attrs, name=f"{kind}{len(self.nodes)}", outputs=[output]))
        return output

    def conv(self, x: ir.Value, inputs: int, outputs: int, kernel: int, stride: int, *, act: bool = True) -> ir.Value:
        pads = [kernel // 2] * 4
        weight = self.weight(outputs, inputs, kernel, kernel)
        y = self.op("Conv", [x, weight, self.weight(outputs)], strides=[stride] * 2, pads=pads)
        return self.op("Relu", [y]) if act else y

    def weight(self, *shape: int) -> ir.Value:
        scale = float(np.sqrt(2.0 / np.prod(shape[1:]))) if len(shape) > 1 else 0.1
        numbers = (self._rng.standard_normal(shape) * scale).astype(np.float32)
        name = f"w{len(self.weights)}"
        self.weights.append(
            ir.Value(
                name=name,
                shape=ir.Shape(shape),
                type=ir.TensorType(ir.DataType.FLOAT),
                const_value=ir.tensor(numbers, name=name),
            )
        )
        return self.weights[-1]


if __name__ == "__main__":
    main()
