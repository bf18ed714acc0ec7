from __future__ import annotations

import numpy as np

from onnxcompress.passes.prune_channels import PruneChannels
from onnxcompress.testing import context, model_of

# Heads are merged with the batch, and a division by an activation needs a mask along that axis.
MERGED = """g (float[N, 6, 8] x) => (float[N, 6, 8] y)
<float[8, 16] wv, float[16, 8] wo, int64[4] split = {0, 6, 4, 4},
 int64[3] heads = {-1, 6, 4}, int64[4] apart = {-1, 4, 6, 4},
 int64[3] merge = {0, 6, 16}> {
    v0 = MatMul (x, wv)
    v1 = Reshape (v0, split)
    v2 = Transpose <perm = [0, 2, 1, 3]> (v1)
    v = Reshape (v2, heads)
    norm = ReduceL2 <axes = [2]> (v)
    unit = Div (v, norm)
    back = Reshape (unit, apart)
    turned = Transpose <perm = [0, 2, 1, 3]> (back)
    flat = Reshape (turned, merge)
    y = MatMul (flat, wo)
}"""


def test_heads_merged_with_the_batch_are_compared_at_the_traced_sizes():
    rng = np.random.default_rng(0)
    text = '<ir_version: 8, opset_import: ["" : 17]>\n' + MERGED
    for name, shape in {"wv": (8, 16), "wo": (16, 8)}.items():
        numbers = ", ".join(map(str, rng.standard_normal(shape).ravel().round(3)))
        text = text.replace(f"] {name},", f"] {name} = {{{numbers}}},")
    for verify in ("quick", "full"):
        model = model_of(text)
        findings = list(PruneChannels(ratio=0.5, heads="whole").run(model, context(model, verify=verify)))
        assert "PRUNE-EXACT" in {finding.code for finding in findings}, findings
