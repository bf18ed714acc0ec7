"""What selects by value, and reductions into indexed places."""

from __future__ import annotations

import numpy as np
from builders.op_cases import OpCase, numbers

CASES: dict[str, OpCase] = {}
REFUSED: dict[str, tuple[OpCase, str]] = {}

_BOXES = np.abs(numbers(2, 12, 4, seed=3))
_SCORES = numbers(2, 3, 12, low=0, high=1)
_LIMITS = {"most": np.array(4), "overlap": np.array(0.4, np.float32), "least": np.array(0.3, np.float32)}
for _centres in (0, 1):
    for _opset in (10, 11):
        for _count in (2, 3):
            _some = dict(list(_LIMITS.items())[:_count])
            CASES[f"NonMaxSuppression {_opset} {_centres} {_count}"] = OpCase(
                "NonMaxSuppression",
                {"boxes": _BOXES, "scores": _SCORES, **_some},
                _opset,
                attributes={"center_point_box": _centres},
                known=tuple(_some),
            )
CASES["NonMaxSuppression by default"] = OpCase("NonMaxSuppression", {"boxes": _BOXES, "scores": _SCORES}, 11)
_TIES = np.round(_SCORES, 1)
CASES["NonMaxSuppression of ties"] = OpCase(
    "NonMaxSuppression", {"boxes": _BOXES, "scores": _TIES, **_LIMITS}, 11, known=tuple(_LIMITS)
)

CASES |= {
    "NonZero": OpCase("NonZero", {"x": (numbers(3, 4) > 0).astype(np.float32)}, 13),
    "Compress": OpCase("Compress", {"x": numbers(3, 4), "c": numbers(12) > 0}, 11, smooth=("x",)),
    "Compress along an axis": OpCase(
        "Compress", {"x": numbers(3, 4), "c": np.array([True, False, True])}, 11, attributes={"axis": -1}, smooth=("x",)
    ),
}

_AT = np.array([[0, 1], [-1, 2], [0, 1]])
for _kind in ("none", "add", "mul", "max", "min"):
    _places = _AT[:2] if _kind == "none" else _AT
    CASES[f"ScatterND {_kind}"] = OpCase(
        "ScatterND",
        {"x": numbers(3, 4, 2), "at": _places, "new": numbers(len(_places), 2, seed=1)},
        18,
        attributes={"reduction": _kind},
        smooth=("x", "new"),
    )
    CASES[f"ScatterElements {_kind}"] = OpCase(
        "ScatterElements",
        {"x": numbers(3, 4), "at": np.array([[0, -1, 1, 2]]), "new": numbers(1, 4, seed=1)},
        18,
        attributes={"reduction": _kind, "axis": -1},
        smooth=("x", "new"),
    )
