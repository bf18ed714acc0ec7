"""Ops on integers: products, onnxruntime's QLinear family, packed weights. A result on a grid may be one step off."""

from __future__ import annotations

from typing import Any

import numpy as np
from builders.op_cases import MS, OpCase, integers, numbers

CASES: dict[str, OpCase] = {}
_KINDS: dict[str, Any] = {"uint8": np.uint8, "int8": np.int8}


def grid(*shape: int, kind: str = "uint8", seed: int = 0) -> np.ndarray:
    low = 0 if kind == "uint8" else -128
    return integers(*shape, seed=seed, low=low, high=low + 256, kind=_KINDS[kind])


def one(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def zero(value: int, kind: str = "uint8") -> np.ndarray:
    return np.array(value, _KINDS[kind])


def scales(count: int, low: float = 0.01, high: float = 0.03) -> np.ndarray:
    return numbers(count, seed=5, low=low, high=high)


for _kind in _KINDS:
    for _wide in (False, True):
        _sw = scales(4) if _wide else one(0.02)
        _zw = integers(4, low=-2, high=3, kind=np.int8) * (_kind == "uint8") if _wide else zero(1, "int8")
        _inputs: dict[str, np.ndarray | None] = {
            "x": grid(2, 3, 6, 6, kind=_kind),
            "sx": one(0.02),
            "zx": zero(7, _kind),
            "w": grid(4, 3, 3, 3, kind="int8"),
            "sw": _sw,
            "zw": _zw.astype(np.int8),
            "sy": one(0.1),
            "zy": zero(10, _kind),
        }
        _known = ("sx", "zx", "w", "sw", "zw", "sy", "zy")
        for _more in ({}, {"b": integers(4, low=-900, high=900, kind=np.int32)}):
            CASES[f"QLinearConv {_kind} {_wide} {bool(_more)}"] = OpCase(
                "QLinearConv",
                {**_inputs, **_more},
                attributes={"pads": [1, 0, 0, 1], "strides": [2, 1]},
                known=(*_known, *_more),
                steps=1,
            )
        _matrix = {
            "x": grid(2, 5, 6, kind=_kind),
            "sx": one(0.02),
            "zx": zero(7, _kind),
            "w": grid(6, 4, kind="int8"),
            "sw": _sw,
            "zw": _zw.astype(np.int8),
            "sy": one(0.1),
            "zy": zero(10, _kind),
        }
        for _opset in (10, 21):
            CASES[f"QLinearMatMul {_opset} {_kind} {_wide}"] = OpCase(
                "QLinearMatMul", _matrix, _opset, known=_known, steps=1
            )
        _gemm = {**_matrix, "x": grid(5, 6, kind=_kind), "c": integers(4, low=-900, high=900, kind=np.int32)}
        _order = ("x", "sx", "zx", "w", "sw", "zw", "c", "sy", "zy")
        CASES[f"QGemm {_kind} {_wide}"] = OpCase(
            "QGemm", {n: _gemm[n] for n in _order}, domain=MS, known=_order[1:], steps=1
        )
        CASES[f"QGemm to float {_kind} {_wide}"] = OpCase(
            "QGemm",
            {n: _gemm[n].T if n == "w" else _gemm[n] for n in _order[:7]},
            domain=MS,
            known=_order[1:7],
            attributes={"transB": 1, "alpha": 0.5},
        )
        CASES[f"MatMulIntegerToFloat {_kind} {_wide}"] = OpCase(
            "MatMulIntegerToFloat",
            {n: _matrix[n] for n in ("x", "w", "sx", "sw", "zx", "zw")} | {"b": numbers(4)},
            domain=MS,
            known=("w", "sx", "sw", "zx", "zw", "b"),
        )
    CASES[f"MatMulInteger {_kind}"] = OpCase(
        "MatMulInteger",
        {"a": grid(3, 6, kind=_kind), "b": grid(6, 4, kind="int8"), "za": zero(3, _kind), "zb": zero(1, "int8")},
        10,
    )
    CASES[f"MatMulInteger by columns {_kind}"] = OpCase(
        "MatMulInteger",
        {
            "a": grid(3, 6, kind=_kind),
            "b": grid(6, 4, kind="int8"),
            "za": zero(3, _kind),
            "zb": integers(4, low=-5, high=5, kind=np.int8),
        },
        10,
        known=("b", "zb"),
    )

CASES |= {
    "MatMulInteger by rows": OpCase(
        "MatMulInteger",
        {"a": grid(3, 6), "b": grid(6, 4, kind="uint8", seed=1), "za": grid(3, 1, seed=2), "zb": zero(1)},
        10,
        reference=True,
    ),
    "ConvInteger": OpCase(
        "ConvInteger",
        {"x": grid(1, 2, 5, 5), "w": grid(3, 2, 2, 2, seed=1), "zx": zero(9), "zw": zero(100)},
        10,
        attributes={"pads": [1, 0, 0, 1]},
        known=("w", "zx", "zw"),
    ),
    "DynamicQuantizeLinear": OpCase("DynamicQuantizeLinear", {"x": numbers(3, 4)}, 11, outputs=3),
    "DynamicQuantizeLinear above 0": OpCase(
        "DynamicQuantizeLinear", {"x": numbers(3, 4, low=2, high=3)}, 11, outputs=3
    ),
    "DynamicQuantizeLinear of 0": OpCase("DynamicQuantizeLinear", {"x": numbers(3, 4) * 0}, 11, outputs=3),
    "DynamicQuantizeMatMul": OpCase(
        "DynamicQuantizeMatMul",
        {"a": numbers(2, 3, 6), "b": grid(6, 4, kind="int8"), "sb": scales(4), "zb": None, "bias": numbers(4)},
        domain=MS,
        known=("b", "sb", "bias"),
        tolerance=1e-3,
    ),
    "DynamicQuantizeMatMul off centre": OpCase(
        "DynamicQuantizeMatMul",
        {"a": numbers(2, 6), "b": grid(6, 4), "sb": one(0.02), "zb": zero(120)},
        domain=MS,
        known=("b", "sb", "zb"),
        tolerance=1e-3,
    ),
}

for _kind in _KINDS:
    _a = {"a": grid(2, 3, 6, 5, kind=_kind), "sa": one(0.02), "za": zero(7, _kind)}
    _b = {"b": grid(2, 3, 6, 5, kind=_kind, seed=1), "sb": one(0.03), "zb": zero(9, _kind)}
    _c = {"sc": one(0.05), "zc": zero(20, _kind)}
    for _op in ("QLinearAdd", "QLinearMul"):
        CASES[f"{_op} {_kind}"] = OpCase(_op, {**_a, **_b, **_c}, domain=MS, steps=1)
    _third = {"QLinearSigmoid": 0.004, "QLinearSoftmax": 0.004}
    for _op, _attributes in (
        ("QLinearLeakyRelu", {"alpha": 0.1}),
        ("QLinearSigmoid", {}),
        ("QLinearSoftmax", {"axis": 2, "opset": 13}),
        ("QLinearSoftmax", {"axis": 2, "opset": 12}),
        ("QLinearGlobalAveragePool", {}),
        ("QLinearAveragePool", {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1], "strides": [2, 1]}),
        ("QLinearAveragePool", {"kernel_shape": [2, 3], "pads": [1, 0, 0, 1], "count_include_pad": 1}),
    ):
        _out = {"sc": one(_third.get(_op, 0.03)), "zc": zero(0 if _kind == "uint8" else -128, _kind)}
        CASES[f"{_op} {_kind} {sorted(_attributes.items())}"] = OpCase(
            _op,
            {**_a, **_out},
            domain=MS,
            attributes=_attributes,
            known=("sa", "za", "sc", "zc"),
            steps=1,
            # ONNX Runtime sums a table of integers there.
            share=0.25 if _op == "QLinearSoftmax" else 0.03,
        )
    CASES[f"QLinearConcat {_kind}"] = OpCase(
        "QLinearConcat", {**_c, **_a, **_b}, domain=MS, attributes={"axis": 1}, steps=1
    )
    CASES[f"QLinearWhere {_kind}"] = OpCase(
        "QLinearWhere",
        {"c": numbers(2, 3, 6, 5) > 0, **_a, **_b, **_c},
        domain=MS,
        known=("sa", "za", "sb", "zb", "sc", "zc"),
        steps=1,
    )

for _bits, _rest in ((2, 128), (4, 64), (4, 50), (8, 48)):
    _blocks, _size = -(-_rest // 32), 32 * _bits // 8
    _packed = {
        "a": numbers(2, 3, _rest),
        "b": grid(5, _blocks, _size),
        "s": numbers(5, _blocks, low=0.01, high=0.03),
    }
    _attributes = {"K": _rest, "N": 5, "bits": _bits, "block_size": 32}
    _zeros = {"z": grid(5, -(-_blocks * _bits // 8), seed=2)}
    for _name, _extra in (("", {}), (" zero", _zeros), (" bias", {"z": None, "g": None, "bias": numbers(5)})):
        CASES[f"MatMulNBits {_bits} {_rest}{_name}"] = OpCase(
            "MatMulNBits",
            {**_packed, **_extra},
            domain=MS,
            attributes=_attributes,
            known=tuple(n for n in ("b", "s", *_extra) if {**_packed, **_extra}[n] is not None),
            smooth=("a",),
            tolerance=2e-3,
        )

_REAL = numbers(3, 4, low=-3, high=3)
for _kind in ("uint8", "int8"):
    CASES[f"ms QuantizeLinear {_kind}"] = OpCase(
        "QuantizeLinear", {"x": _REAL, "s": one(0.03), "z": zero(5, _kind)}, domain=MS, known=("s", "z")
    )
    CASES[f"ms DequantizeLinear {_kind}"] = OpCase(
        "DequantizeLinear", {"q": grid(3, 4, kind=_kind), "s": one(0.03), "z": zero(5, _kind)}, domain=MS
    )
CASES |= {
    "ms QuantizeLinear by axis": OpCase(
        "QuantizeLinear",
        {"x": _REAL, "s": scales(3), "z": grid(3)},
        domain=MS,
        attributes={"axis": 0},
        known=("s", "z"),
    ),
    # (0.5, 1.5, 2.5, -0.5, -1.5) steps of 1: half to even.
    "QuantizeLinear of halves": OpCase(
        "QuantizeLinear",
        {"x": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 3.5], np.float32), "s": one(1.0), "z": zero(0, "int8")},
        known=("s", "z"),
        tolerance=0,
    ),
}

REFUSED: dict[str, tuple[OpCase, str]] = {
    "MatMulNBits with g_idx": (
        OpCase(
            "MatMulNBits",
            {
                "a": numbers(1, 32),
                "b": grid(5, 1, 16),
                "s": numbers(5, 1),
                "z": None,
                "g": np.zeros(32, np.int32),
            },
            domain=MS,
            attributes={"K": 32, "N": 5, "bits": 4, "block_size": 32},
        ),
        "g_idx",
    ),
    "QLinearConv with channels last": (
        OpCase(
            "QLinearConv",
            {
                "x": grid(1, 6, 6, 3),
                "sx": one(0.02),
                "zx": zero(7),
                "w": grid(4, 3, 3, 3),
                "sw": one(0.02),
                "zw": zero(7),
                "sy": one(0.1),
                "zy": zero(10),
            },
            domain=MS,
            attributes={"channels_last": 1},
        ),
        "channels come last",
    ),
    "MatMulInteger with a flat zero point for each row": (
        OpCase("MatMulInteger", {"a": grid(3, 6), "b": grid(6, 4), "za": grid(3), "zb": zero(1)}, 10),
        "several numbers",
    ),
    "QLinearMatMul with a scale for each row": (
        OpCase(
            "QLinearMatMul",
            {
                "x": grid(5, 6),
                "sx": scales(5),
                "zx": grid(5),
                "w": grid(6, 4),
                "sw": one(0.02),
                "zw": zero(0),
                "sy": one(0.1),
                "zy": zero(10),
            },
        ),
        "several numbers",
    ),
}
