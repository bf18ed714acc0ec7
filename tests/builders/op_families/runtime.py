"""Where the text of the standard leaves room, or seldom is read: ONNX Runtime's way."""

from __future__ import annotations

from typing import Any

import numpy as np
from builders.op_cases import OpCase, numbers

CASES: dict[str, OpCase] = {}
REFUSED: dict[str, tuple[OpCase, str]] = {}


def case(op: str, title: str, opset: int, feeds: dict[str, Any], known: tuple[str, ...] = (), **rest: Any) -> None:
    """A case of that name."""
    CASES[f"{op} {opset} {title}"] = OpCase(op, feeds, opset, known=known, **rest)


_ROWS = numbers(1, 2, 10, 5)
for _scale in (0.3, 0.6, 0.7, 1.1, 1.4, 2.3):
    _scales = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, _scale, _scale], np.float32)}
    for _mode in ("half_pixel", "asymmetric", "align_corners"):
        for _how in ({"mode": "linear"}, {"mode": "nearest", "nearest_mode": "floor"}):
            _given = {"coordinate_transformation_mode": _mode, **_how}
            case(
                "Resize", f"{_scale} {_given}", 13, {"x": _ROWS, **_scales}, ("roi", "scales"),
                attributes=_given, smooth=("x",),
            )  # fmt: skip
for _policy in ("not_larger", "not_smaller"):
    case(
        "Resize", _policy, 19,
        {"x": _ROWS, "roi": None, "scales": None, "sizes": np.array([7, 9])}, ("sizes",),
        attributes={"keep_aspect_ratio_policy": _policy, "axes": [2, 3], "mode": "linear"}, smooth=("x",),
    )  # fmt: skip
case("Hardmax", "flattened", 11, {"x": numbers(3, 2, 4)})
case("Hardmax", "flattened from 2", 11, {"x": numbers(3, 2, 4)}, attributes={"axis": 2})
case("InstanceNormalization", "one place", 17, {"x": numbers(2, 3, 1, 1), "g": numbers(3), "b": numbers(3)})
_BEFORE = {"starts": np.array([-9]), "ends": np.array([-10]), "axes": np.array([0]), "steps": np.array([-1])}
case("Slice", "from before the start", 13, {"x": numbers(4, 3), **_BEFORE}, tuple(_BEFORE))
_LARGE = np.array([[1.0, np.inf, 2.0, 3.0], [1e9, 0.25, 0.5, 1.0]], np.float32)
for _reverse in (0, 1):
    case(
        "CumSum", f"exclusive {_reverse}", 14, {"x": _LARGE, "axis": np.array(1)}, ("axis",),
        attributes={"exclusive": 1, "reverse": _reverse},
    )  # fmt: skip
case("IsInf", "of neither sign", 20, {"x": _LARGE}, attributes={"detect_positive": 0, "detect_negative": 0})
case("Pow", "root of whole numbers", 15, {"x": np.array([4, 9, 10]), "e": np.array(0.5, np.float32)}, ("e",))
