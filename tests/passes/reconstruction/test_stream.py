from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress import graph
from onnxcompress.passes.reconstruction.stream import Stream
from onnxcompress.runtime import Session
from onnxcompress.runtime_options import RuntimeOptions

TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
g (float[N, 4] x) => (float[N, 4] out)
<float[4, 4] w1 = {1,2,0,1, 0,1,1,0, 1,0,2,1, 0,1,0,1}, float[4, 4] w2 = {1,0,0,1, 2,1,0,0, 0,1,1,0, 1,0,0,2}>
{
   half = Constant <value_float: float = 0.5> ()
   a = MatMul (x, w1)
   b = Relu (a)
   c = MatMul (b, w2)
   d = Mul (c, half)
   e = Add (d, b)
   out = Tanh (e)
}
"""


def _runs() -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [{"x": generator.normal(size=(size, 4)).astype(np.float32)} for size in (3, 5)]


def test_every_stop_sees_what_a_whole_run_sees() -> None:
    model = ir.from_onnx_text(TEXT)
    whole = Session(model, optimize=False, taps=["a", "b", "c", "d", "e"])
    for step in range(1, len(model.graph) + 1):
        runs = _runs()
        stream = Stream(model, runs, {"a", "b", "c", "d", "e", "out"}, RuntimeOptions(threads=1))
        for stop in range(0, len(model.graph) + 1, step):
            stream.advance_before(stop)
        stream.advance_before(len(model.graph))
        for number, feeds in enumerate(runs):
            for name, expected in whole.run(feeds).items():
                np.testing.assert_allclose(stream.value(number, name), expected, rtol=1e-6)


def test_what_nobody_reads_any_more_is_dropped() -> None:
    stream = Stream(ir.from_onnx_text(TEXT), _runs(), (), RuntimeOptions(threads=1))
    stream.advance_before(4)
    assert stream.value(0, "a") is None
    assert stream.value(0, "b") is not None
    assert stream.value(0, "x") is None


def test_weights_edited_ahead_take_effect() -> None:
    model = ir.from_onnx_text(TEXT)
    stream = Stream(model, _runs(), (), RuntimeOptions(threads=1))
    stream.advance_before(3)
    graph.set_constant(model.graph.initializers["w2"], np.zeros((4, 4), np.float32))
    stream.advance_before(5)
    assert not np.any(stream.value(0, "d"))


def test_pieces_hold_only_their_own_nodes(monkeypatch) -> None:
    """Linear in the number of nodes: all sessions together see each node once, and its weights with it."""
    from onnxcompress.passes.reconstruction import stream as module

    sizes: list[tuple[int, int]] = []

    class Counting(Session):
        def __init__(self, model: ir.Model, *rest, **more) -> None:
            sizes.append((len(model.graph), len(model.graph.initializers)))
            super().__init__(model, *rest, **more)

    monkeypatch.setattr(module, "Session", Counting)
    model = ir.from_onnx_text(TEXT)
    stream = Stream(model, _runs(), {"out"}, RuntimeOptions(threads=1))
    for stop in range(1, len(model.graph) + 1):
        stream.advance_before(stop)
    assert sum(nodes for nodes, _ in sizes) <= len(model.graph) + 1  # the Constant is run again where it is read
    assert sum(weights for _, weights in sizes) == 2
