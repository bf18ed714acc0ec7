"""Seconds that `prune-channels` takes on deep synthetic nets, by size, next to loading and checking the same file.

    python benchmarks/tracing.py [NODES ...] [--profile]

The nets are residual stacks of pointwise convolutions, batch norms, squeeze-and-excitation gates, splits, channel
shuffles and computed shapes, a few channels wide: almost all of the time is the graph's, none the numbers'. Printed:
nodes, weights, seconds to load and check the file, seconds for shapes, for the trace and for the whole pass, the
pass's ratio to load and check, and the process's peak memory.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from onnxcompress import graph, model_io
from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.passes.pruning.rules import RULES
from onnxcompress.passes.pruning.walk import trace
from onnxcompress.shapes import infer
from onnxcompress.testing import context

WIDTH = 16
"""Channels of the trunk."""


class Net:
    """Nodes and weights of a net while it is being made."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._draw = np.random.default_rng(0)

    def constant(self, numbers: np.ndarray) -> str:
        """A new initializer."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numbers, name))
        return name

    def weight(self, *shape: int) -> str:
        """A new float weight, seeded."""
        return self.constant((self._draw.normal(size=shape) / 4).astype(np.float32))

    def integers(self, *numbers: int) -> str:
        """A new list of int64."""
        return self.constant(np.array(numbers, np.int64))

    def add(self, op: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        """A new node; returns its first output, the others are called after it with _1, _2."""
        name = f"v{len(self.nodes)}"
        names = [name, *(f"{name}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"n{len(self.nodes)}", **attributes))
        return name

    def conv(self, x: str, inputs: int, outputs: int) -> str:
        """A pointwise convolution."""
        return self.add("Conv", x, self.weight(outputs, inputs, 1, 1), self.weight(outputs))


def _block(net: Net, x: str) -> str:
    """A residual branch with a gate, a split and a shuffle whose target is computed: 22 nodes."""
    norm = [net.weight(WIDTH), net.weight(WIDTH), net.weight(WIDTH), net.constant(np.ones(WIDTH, np.float32))]
    y = net.add("Relu", net.add("BatchNormalization", net.conv(x, WIDTH, WIDTH), *norm))
    gate = net.add("Relu", net.conv(net.add("GlobalAveragePool", y), WIDTH, 8))
    y = net.add("Mul", y, net.add("Sigmoid", net.conv(gate, 8, WIDTH)))
    half = net.add("Split", y, net.integers(WIDTH // 2, WIDTH // 2), outputs=2, axis=1)
    y = net.add("Concat", net.conv(half, WIDTH // 2, WIDTH // 2), net.add("Relu", f"{half}_1"), axis=1)
    batch = net.add("Gather", net.add("Shape", y), net.integers(0))
    shape = net.add("Concat", batch, net.integers(2, WIDTH // 2, 4, 4), axis=0)
    y = net.add("Transpose", net.add("Reshape", y, shape), perm=[0, 2, 1, 3, 4])
    y = net.add("Reshape", y, net.integers(0, WIDTH, 4, 4))
    return net.add("Tanh", net.add("Add", x, net.conv(y, WIDTH, WIDTH)))


def deep_net(nodes: int) -> onnx.ModelProto:
    """A net of about `nodes` nodes over pictures [N, 3, 4, 4]."""
    net = Net()
    y = net.conv("x", 3, WIDTH)
    while len(net.nodes) < nodes - 3:
        y = _block(net, y)
        if len(net.nodes) % 5 == 0:
            y = net.add("Relu", net.conv(y, WIDTH, WIDTH))
    net.nodes.append(helper.make_node("Conv", [y, net.weight(4, WIDTH, 1, 1)], ["y"], name="head"))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N", c, 4, 4]) for n, c in (("x", 3), ("y", 4))]
    made = helper.make_graph(net.nodes, "deep", ends[:1], ends[1:], net.weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _load_and_check(path: Path) -> float:
    start = time.process_time()
    onnx.checker.check_model(onnx.load(path), full_check=True)
    model_io.load(path)
    return time.process_time() - start


def _trace(path: Path) -> tuple[float, float]:
    """Seconds for shapes and for the trace."""
    model = model_io.load(path)
    start = time.process_time()
    table = infer(model, values=True)
    middle = time.process_time()
    trace(model, table, RULES, {graph.label(node) for node in model.graph}, set())
    return middle - start, time.process_time() - middle


def _prune(path: Path, options: dict[str, object], *, profile: bool) -> float:
    model = model_io.load(path)
    ctx = context(model)
    profiler = cProfile.Profile()
    start = time.process_time()
    if profile:
        profiler.enable()
    list(PruneChannels(**options).run(model, ctx))
    profiler.disable()
    seconds = time.process_time() - start
    if profile:
        pstats.Stats(profiler).sort_stats("cumulative").print_stats(60)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nodes", nargs="*", type=int, default=[500, 2000, 5000, 20000])
    parser.add_argument("--target-macs", default="", help="a goal, walked to by --allocation global, instead of half")
    parser.add_argument("--profile", action="store_true", help="print where the time of the pass goes")
    given = parser.parse_args()
    goal = {"target_macs": given.target_macs, "allocation": "global"} if given.target_macs else {"ratio": 0.5}
    print("nodes  MB  load+check  shapes  trace  prune  ratio  peak MB")
    with tempfile.TemporaryDirectory() as folder:
        for nodes in given.nodes:
            path = Path(folder) / f"{nodes}.onnx"
            proto = deep_net(nodes)
            onnx.save(proto, path)
            base, (shapes, traced) = _load_and_check(path), _trace(path)
            whole = _prune(path, goal, profile=given.profile)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            size = path.stat().st_size / 1e6
            print(f"{len(proto.graph.node):5d} {size:4.1f} {base:8.2f} {shapes:8.2f} {traced:6.2f} {whole:6.2f}"
                  f" {whole / base:6.1f} {peak:6.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
