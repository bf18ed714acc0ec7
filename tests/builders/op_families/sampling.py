"""GridSample, RoiAlign, determinants, bits and running products."""

from __future__ import annotations

import numpy as np
from builders.op_cases import MS, OpCase, integers, numbers

CASES: dict[str, OpCase] = {}

for _mode in ("nearest", "bilinear", "bicubic"):
    for _padding in ("zeros", "border", "reflection"):
        for _corners in (0, 1):
            _attributes = {"mode": _mode, "padding_mode": _padding, "align_corners": _corners}
            _feeds = {"x": numbers(2, 3, 4, 5), "grid": numbers(2, 3, 2, 2, seed=1)}
            _smooth = ("x",) if _mode == "nearest" else ("x", "grid")
            _name = f"GridSample 16 {_mode} {_padding} {_corners}"
            CASES[_name] = OpCase("GridSample", _feeds, 16, attributes=_attributes, smooth=_smooth)
            _renamed = {**_attributes, "mode": {"bilinear": "linear", "bicubic": "cubic"}.get(_mode, _mode)}
            CASES[_name.replace("16", "20")] = OpCase("GridSample", _feeds, 20, attributes=_renamed)
            CASES[f"ms {_name}"] = OpCase("GridSample", _feeds, 16, MS, _attributes)
            if _mode != "bicubic":
                _deep = {"x": numbers(1, 2, 3, 4, 5), "grid": numbers(1, 2, 3, 2, 3, seed=1)}
                CASES[f"{_name} 5D"] = OpCase("GridSample", _deep, 20, attributes=_renamed, smooth=_smooth)

_ROIS = np.array([[0.3, 0.2, 5.1, 6.2], [-2, -3, 8.5, 9.9], [1, 1, 1.4, 1.2], [2, 2, 14, 12]], np.float32)
_REGIONS = {"x": numbers(2, 3, 7, 9), "rois": _ROIS, "batch": np.array([0, 1, 0, 1])}
for _opset, _places in ((10, [None]), (16, ["half_pixel", "output_half_pixel"])):
    for _place in _places:
        for _mode in ("avg", "max"):
            for _ratio in (0, 2):
                _attributes = {
                    "mode": _mode,
                    "output_height": 2,
                    "output_width": 3,
                    "sampling_ratio": _ratio,
                    "spatial_scale": 0.8,
                } | ({} if _place is None else {"coordinate_transformation_mode": _place})
                CASES[f"RoiAlign {_opset} {_place} {_mode} {_ratio}"] = OpCase(
                    "RoiAlign", _REGIONS, _opset, attributes=_attributes, smooth=("x",)
                )
CASES["RoiAlign 22"] = OpCase(
    "RoiAlign", _REGIONS, 22, attributes={"sampling_ratio": 3, "output_height": 2}, reference=True
)

CASES |= {
    "Det 11": OpCase("Det", {"x": numbers(2, 3, 3)}, 11, smooth=("x",)),
    "Det 22": OpCase("Det", {"x": numbers(4, 4)}, 22, smooth=("x",)),
    "BitwiseNot": OpCase("BitwiseNot", {"x": integers(2, 3, low=-9, high=9)}, 18),
    "BitwiseNot of bytes": OpCase("BitwiseNot", {"x": integers(2, 3, kind=np.uint8)}, 18),
    "BitwiseNot of uint16": OpCase("BitwiseNot", {"x": integers(2, 3, kind=np.uint16)}, 18),
    "BitwiseNot of uint32": OpCase("BitwiseNot", {"x": integers(2, 3, kind=np.uint32)}, 18),
    "SwiGLU": OpCase(
        "SwiGLU",
        {"a": numbers(2, 3), "b": numbers(2, 3, seed=1)},
        28,
        attributes={"alpha": 1.3},
        smooth=("a", "b"),
        reference=True,
    ),
}
for _reverse in (0, 1):
    for _exclusive in (0, 1):
        CASES[f"CumProd {_reverse} {_exclusive}"] = OpCase(
            "CumProd",
            {"x": numbers(2, 4), "axis": np.array(-1)},
            26,
            attributes={"reverse": _reverse, "exclusive": _exclusive},
            known=("axis",),
            smooth=("x",),
            reference=True,
        )

REFUSED: dict[str, tuple[OpCase, str]] = {
    "GridSample cubic on 5 axes": (
        OpCase(
            "GridSample",
            {"x": numbers(1, 2, 3, 4, 5), "grid": numbers(1, 2, 3, 2, 3)},
            20,
            attributes={"mode": "cubic"},
        ),
        "cubic on 5 axes",
    ),
    "GridSample on 3 axes": (
        OpCase("GridSample", {"x": numbers(1, 2, 3), "grid": numbers(1, 2, 1)}, 20),
        "its input has 3 axes",
    ),
}
