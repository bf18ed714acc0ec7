from __future__ import annotations

import numpy as np
import onnx_ir as ir

from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.testing import context, model_of

# Numbers are compared where they jump, that is inside of the heads, whose dimensions trade places head by head.
ATTENTION = """g (float[N, 6, 8] x) => (float[N, 6, 8] y)
<float[8, 16] wq, float[8, 16] wk, float[8, 16] wv, float[16, 8] wo,
 int64[4] split = {0, 6, 4, 4}, int64[3] merge = {0, 6, 16}> {
    q0 = MatMul (x, wq)
    k0 = MatMul (x, wk)
    v0 = MatMul (x, wv)
    q1 = Reshape (q0, split)
    k1 = Reshape (k0, split)
    v1 = Reshape (v0, split)
    q = Transpose <perm = [0, 2, 1, 3]> (q1)
    k = Transpose <perm = [0, 2, 3, 1]> (k1)
    v = Transpose <perm = [0, 2, 1, 3]> (v1)
    scores = MatMul (q, k)
    part = Softmax (scores)
    whole = Round (v)
    mixed = MatMul (part, whole)
    back = Transpose <perm = [0, 2, 1, 3]> (mixed)
    flat = Reshape (back, merge)
    y = MatMul (flat, wo)
}"""


def attention() -> ir.Model:
    rng = np.random.default_rng(0)
    text = ATTENTION
    for name, shape in {"wq": (8, 16), "wk": (8, 16), "wv": (8, 16), "wo": (16, 8)}.items():
        numbers = ", ".join(map(str, rng.standard_normal(shape).ravel().round(3)))
        text = text.replace(f"] {name},", f"] {name} = {{{numbers}}},")
    return model_of(text)


def test_tensors_that_show_other_slots_are_not_compared_after_a_permutation():
    model = attention()
    findings = list(PruneChannels(ratio=0.5).run(model, context(model, verify="full")))
    assert "PRUNE-EXACT" in {finding.code for finding in findings}
    assert model.graph.initializers["wv"].shape == ir.Shape([8, 8])
