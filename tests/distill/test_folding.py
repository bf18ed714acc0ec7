"""Col2Im against ONNX Runtime and torch's own fold."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders.distill_models import model

from onnxcompress.distill.bridge import Bridge
from onnxcompress.runtime import Session

CASES = {
    "plain": ([6, 5], [2, 3], ""),
    "strides": ([6, 6], [2, 3], "strides = [2, 3]"),
    "pads on one side": ([4, 5], [2, 2], "pads = [1, 0, 0, 2]"),
    "dilations": ([7, 6], [2, 2], "dilations = [2, 3]"),
    "one axis": ([8], [3], ""),
    "three axes": ([3, 4, 4], [2, 1, 3], "strides = [1, 2, 1]"),
}


def places(size: list[int], block: list[int], attributes: str) -> int:
    """Number of patches."""
    given = dict(part.split(" = ") for part in [attributes] if part)
    rank = len(size)
    pads = eval(given.get("pads", str([0] * 2 * rank)))
    steps, gaps = eval(given.get("strides", str([1] * rank))), eval(given.get("dilations", str([1] * rank)))
    return int(
        np.prod(
            [(size[i] + pads[i] + pads[i + rank] - gaps[i] * (block[i] - 1) - 1) // steps[i] + 1 for i in range(rank)]
        )
    )


@pytest.mark.parametrize("case", CASES)
def test_patches_are_added_up_as_onnx_runtime_does(case: str) -> None:
    size, block, attributes = CASES[case]
    rows, count = 2 * int(np.prod(block)), places(size, block, attributes)
    listed = [", ".join(map(str, numbers)) for numbers in (size, block)]
    text = f"""<ir_version: 8, opset_import: ["" : 18]>
    net (float[N, {rows}, {count}] x) => (float[N, 2, {listed[0]}] y)
    <int64[{len(size)}] size = {{{listed[0]}}}, int64[{len(size)}] block = {{{listed[1]}}}>
    {{ y = Col2Im {f"<{attributes}>" if attributes else ""} (x, size, block) }}"""
    feeds = {"x": np.random.default_rng(0).standard_normal((3, rows, count)).astype(np.float32)}
    made = model(text)
    found = Bridge(made).specialise(feeds).run(feeds)["y"].numpy()
    np.testing.assert_allclose(found, Session(made).run(feeds)["y"], atol=1e-5)
    if case == "plain":
        np.testing.assert_allclose(
            found, torch.nn.functional.fold(torch.from_numpy(feeds["x"]), tuple(size), tuple(block)), atol=1e-5
        )
