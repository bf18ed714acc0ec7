"""Ops of every network, with the attributes that converters forget: uneven pads, ceil_mode, limits as inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from builders.op_cases import MS, OpCase, integers, numbers

CASES: dict[str, OpCase] = {}
REFUSED: dict[str, tuple[OpCase, str]] = {}


def case(op: str, title: str, feeds: dict[str, Any], opset: int = 21, **rest: Any) -> None:
    """A case whose gradient goes through every float input that is fed."""
    known, attributes = rest.pop("known", ()), rest.pop("attributes", {})
    rest.setdefault("smooth", tuple(n for n, a in feeds.items() if n not in known and a.dtype == np.float32))
    CASES[f"{rest.get('domain', '')} {op} {opset} {title}".strip()] = OpCase(
        op, feeds, opset, attributes=attributes, known=known, **rest
    )


# Windows: every way of padding, rounding up and counting.
_PICTURE = {"x": numbers(2, 3, 7, 8)}
for _pads in ({"pads": [1, 1, 1, 1]}, {"pads": [1, 0, 0, 1]}, {"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}):
    for _ceil in (0, 1):
        for _count in (0, 1):
            if "auto_pad" in _pads and _ceil:
                continue
            _window = {"kernel_shape": [3, 3], "strides": [2, 3], **_pads, "ceil_mode": _ceil}
            case(
                "AveragePool",
                f"{_pads} {_ceil} {_count}",
                _PICTURE,
                19,
                attributes={**_window, "count_include_pad": _count},
            )
        case(
            "MaxPool",
            f"{_pads} {_ceil}",
            _PICTURE,
            12,
            attributes={"kernel_shape": [3, 2], "strides": [2, 3], **_pads, "ceil_mode": _ceil},
        )
    case("Conv", f"{_pads}", {**_PICTURE, "w": numbers(4, 3, 3, 2, seed=1)}, attributes={"strides": [2, 1], **_pads})
for _count in (0, 1):
    _window = {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1, 0, 1, 1], "count_include_pad": _count}
    case("AveragePool", f"dilated {_count}", _PICTURE, 19, attributes=_window)
case("LpPool", "dilated", _PICTURE, 18, attributes={"kernel_shape": [2, 2], "dilations": [2, 2], "p": 3})
case(
    "MaxPool",
    "with places",
    _PICTURE,
    12,
    attributes={"kernel_shape": [2, 2], "pads": [1, 1, 1, 1], "strides": [2, 2]},
    outputs=2,
)

# Limits and settings that moved from attributes to inputs.
_X = numbers(3, 4, low=-2, high=2)
case("Clip", "attributes", {"x": _X}, 6, attributes={"min": -0.5, "max": 0.7})
for _known in (("low", "high"), ()):
    case(
        "Clip",
        f"inputs {_known}",
        {"x": _X, "low": np.array(-0.5, np.float32), "high": np.array(0.7, np.float32)},
        13,
        known=_known,
        smooth=("x",),
    )
CASES["Clip without minimum"] = OpCase(
    "Clip", {"x": _X, "low": None, "high": np.array(0.7, np.float32)}, 13, smooth=("x",)
)
case("Clip", "integers", {"x": integers(3, 4), "low": np.array(20), "high": np.array(90)}, 13)
case("Round", "half to even", {"x": np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4], np.float32)}, 11, smooth=())
case("Dropout", "attribute", {"x": _X}, 10, attributes={"ratio": 0.5})
case("Dropout", "with mask", {"x": _X}, 13, outputs=2)
case(
    "Dropout", "inputs", {"x": _X, "ratio": np.array(0.5, np.float32), "on": np.array(False)}, 13, known=("ratio", "on")
)
REFUSED["Dropout in training"] = (
    OpCase("Dropout", {"x": _X, "ratio": np.array(0.5, np.float32), "on": np.array(True)}, 13, known=("ratio", "on")),
    "training mode",
)
for _opset in (9, 11, 13):
    case("Softmax", "middle axis", {"x": numbers(2, 3, 4)}, _opset, attributes={"axis": 1})
    case("LogSoftmax", "middle axis", {"x": numbers(2, 3, 4)}, _opset, attributes={"axis": 1})

# Reductions, with axes as attribute and as input.
_REDUCED = numbers(2, 3, 4, low=0.3, high=2)
_SIGNED = numbers(3, 4)
for _op in ("Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"):
    case(f"Reduce{_op}", "attribute", {"x": _REDUCED}, 11, attributes={"axes": [-1, 0], "keepdims": 0})
    case(f"Reduce{_op}", "input", {"x": _REDUCED, "axes": np.array([1])}, 18, known=("axes",))
    case(f"Reduce{_op}", "all", {"x": _REDUCED}, 18)
    CASES[f"Reduce{_op} nothing"] = OpCase(f"Reduce{_op}", {"x": _SIGNED}, 18, attributes={"noop_with_empty_axes": 1})

# Activations and curves inside their domains.
_POSITIVE, _INSIDE = numbers(3, 4, low=0.2, high=2), numbers(3, 4, low=-0.9, high=0.9)
for _op in (
    "Abs",
    "Atan",
    "Asinh",
    "Cos",
    "Cosh",
    "Erf",
    "Exp",
    "Neg",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Softsign",
    "Tanh",
    "Relu",
    "HardSwish",
    "Softplus",
    "Mish",
    "Tan",
):
    case(_op, "", {"x": _X}, 22 if _op in ("HardSwish", "Mish") else 14)
for _op in ("Log", "Sqrt", "Reciprocal"):
    case(_op, "", {"x": _POSITIVE}, 13)
case("Acosh", "", {"x": _POSITIVE + 1}, 9)
for _op in ("Acos", "Asin", "Atanh"):
    case(_op, "", {"x": _INSIDE}, 9)
for _op, _attributes in (
    ("LeakyRelu", {"alpha": 0.2}),
    ("Elu", {"alpha": 1.4}),
    ("Celu", {"alpha": 1.4}),
    ("Selu", {"alpha": 1.5, "gamma": 1.2}),
    ("ThresholdedRelu", {"alpha": 0.3}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    ("Shrink", {"lambd": 0.4, "bias": 0.1}),
):
    case(_op, "", {"x": _X}, 14, attributes=_attributes)
case("Gelu", "", {"x": _X}, 20)
case("Gelu", "tanh", {"x": _X}, 20, attributes={"approximate": "tanh"})
case("Swish", "", {"x": _X}, 24, attributes={"alpha": 1.3}, reference=True)
case("PRelu", "", {"x": numbers(2, 3, 4), "s": numbers(3, 1, seed=1)}, 16)

# Norms.
case("LRN", "", {"x": numbers(2, 5, 3, 3)}, 13, attributes={"size": 5, "alpha": 0.3, "beta": 0.6, "bias": 1.1})
for _p in (1, 2):
    case("LpNormalization", f"{_p}", {"x": numbers(3, 4)}, 22, attributes={"p": _p, "axis": 0})
    case("GlobalLpPool", f"{_p}", {"x": numbers(2, 3, 4, 5)}, 2, attributes={"p": _p})
case("RMSNormalization", "", {"x": numbers(2, 3, 4), "s": numbers(4, seed=1)}, 23)
case("MeanVarianceNormalization", "", {"x": numbers(2, 3, 4, 5)}, 13)

# Places and products.
case("EyeLike", "", {"x": numbers(3, 5)}, 9, attributes={"k": -1}, smooth=())
case("ReverseSequence", "", {"x": numbers(4, 3, 2), "n": np.array([4, 1, 3])}, 10)
case("Trilu", "lower", {"x": numbers(2, 4, 5), "k": np.array(1)}, 14, attributes={"upper": 0}, known=("k",))
case(
    "Einsum", "", {"a": numbers(2, 3, 4), "b": numbers(2, 4, 5, seed=1)}, 12, attributes={"equation": "bij, bjk -> bik"}
)
case(
    "Einsum",
    "with dots",
    {"a": numbers(2, 3, 4), "b": numbers(4, 5, seed=1)},
    12,
    attributes={"equation": "...j,jk->...k"},
)
case(
    "OneHot",
    "",
    {"i": np.array([[0, -1], [2, 5]]), "d": np.array(4), "v": np.array([0.2, 3], np.float32)},
    11,
    attributes={"axis": 1},
    known=("d", "v"),
)
case("CastLike", "", {"x": _X * 3, "like": np.array([1])}, 19, smooth=())
case(
    "IsInf",
    "",
    {"x": np.array([np.inf, -np.inf, 1, np.nan], np.float32)},
    20,
    attributes={"detect_negative": 0},
    smooth=(),
)
case(
    "TopK",
    "",
    {"x": numbers(3, 6), "k": np.array([2])},
    11,
    attributes={"axis": 0, "largest": 0},
    known=("k",),
    outputs=2,
)
for _mode in ("nearest", "linear"):
    case(
        "Upsample",
        _mode,
        {"x": numbers(1, 2, 3, 4), "s": np.array([1, 1, 2, 1.5], np.float32)},
        9,
        attributes={"mode": _mode},
        known=("s",),
    )
for _op, _other in (("BitwiseAnd", np.uint8), ("BitwiseOr", np.int32), ("BitwiseXor", np.int64)):
    case(_op, "", {"a": integers(3, 4, high=99, kind=_other), "b": integers(4, high=99, kind=_other, seed=1)}, 18)
for _direction in ("LEFT", "RIGHT"):
    case(
        "BitShift",
        _direction,
        {"a": integers(3, high=200, kind=np.uint8), "b": integers(3, high=5, kind=np.uint8)},
        11,
        attributes={"direction": _direction},
    )

# onnxruntime's fused products.
_A, _B = numbers(2, 3, 4, 5), numbers(2, 3, 5, 6, seed=1)
case("FusedMatMul", "", {"a": _A, "b": _B}, domain=MS, attributes={"alpha": 0.5})
case(
    "FusedMatMul",
    "transposed",
    {"a": _A.swapaxes(2, 3).copy(), "b": _B.swapaxes(2, 3).copy()},
    domain=MS,
    attributes={"transA": 1, "transB": 1},
)
case("TransposeMatMul", "", {"a": _A.swapaxes(2, 3).copy(), "b": _B}, domain=MS, attributes={"transA": 1})
for _rows in (0, 1):
    _left = numbers(4, 2, 3, 5) if not _rows else numbers(5, 2, 3, 4)
    case(
        "FusedMatMul",
        f"batch {_rows}",
        {"a": _left, "b": _B},
        domain=MS,
        attributes={"transBatchA": 1, "transA": _rows},
    )
for _activation in ("Relu", "LeakyRelu", "Tanh", "Sigmoid"):
    _given = {"activation": _activation, "activation_alpha": 0.2, "transB": 1, "alpha": 0.7}
    case(
        "FusedGemm",
        _activation,
        {"a": numbers(3, 4), "b": numbers(5, 4, seed=1), "c": numbers(5, seed=2)},
        domain=MS,
        attributes=_given,
    )
    _given = (
        {"activation": _activation, "activation_params": [0.2]}
        if _activation == "LeakyRelu"
        else {"activation": _activation}
    )
    _conv = {**_PICTURE, "w": numbers(4, 3, 2, 2, seed=1), "b": numbers(4, seed=2)}
    case("FusedConv", _activation, _conv, domain=MS, attributes=_given)
case(
    "FusedConv", "and a sum", {**_conv, "z": numbers(2, 4, 6, 7, seed=3)}, domain=MS, attributes={"activation": "Relu"}
)
for _op in ("Gelu", "QuickGelu", "FastGelu"):
    case(_op, "", {"x": _X}, domain=MS, tolerance=1e-3)
case("BiasGelu", "", {"x": _X, "b": numbers(4)}, domain=MS)
case("FastGelu", "bias", {"x": _X, "b": numbers(4)}, domain=MS, tolerance=1e-3)
for _outputs in (1, 4):
    _skip = {"x": numbers(2, 3, 6), "skip": numbers(2, 3, 6, seed=1), "g": numbers(6, seed=2)}
    case(
        "SkipLayerNormalization",
        f"{_outputs}",
        {**_skip, "b": numbers(6, seed=3), "more": numbers(6, seed=4)},
        domain=MS,
    )
    case("SkipSimplifiedLayerNormalization", f"{_outputs}", {**_skip, "more": numbers(6, seed=4)}, domain=MS)

# A scalar is reduced to what the reduction makes of one number.
for _op in ("L1", "L2", "SumSquare", "Mean", "Max"):
    CASES[f"Reduce{_op} of a scalar"] = OpCase(f"Reduce{_op}", {"x": np.array(-1.5, np.float32)}, 18)
