"""Attention of opset 23 to 25 and of onnxruntime, rotary and summed embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
from builders.op_cases import MS, OpCase, integers, numbers

CASES: dict[str, OpCase] = {}
REFUSED: dict[str, tuple[OpCase, str]] = {}

_Q, _K, _V = numbers(2, 4, 3, 6), numbers(2, 2, 5, 6, seed=1), numbers(2, 2, 5, 8, seed=2)
_PAST = {"pk": numbers(2, 2, 2, 6, seed=3), "pv": numbers(2, 2, 2, 8, seed=4)}
_DEAD = np.zeros((3, 5), np.float32)
_DEAD[1] = -np.inf
_DEAD[0, 2] = -np.inf


def _three(q: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(q.transpose(0, 2, 1, 3)).reshape(q.shape[0], q.shape[2], -1)


def _plain(mask: np.ndarray | None = None, **more: np.ndarray | None) -> dict[str, np.ndarray | None]:
    return {"q": _Q, "k": _K, "v": _V, "mask": mask, **more}


def attention(name: str, feeds: dict[str, np.ndarray | None], opset: int = 23, **rest: Any) -> None:
    """A case; the reference decides for opset 25, of which ONNX Runtime has no kernel."""
    attributes = rest.pop("attributes", {})
    CASES[f"Attention {opset} {name}"] = OpCase(
        "Attention", feeds, opset, attributes=attributes, reference=opset > 24, smooth=("q", "k", "v"), **rest
    )


attention("plain", _plain())
attention("causal", _plain(), attributes={"is_causal": 1})
attention("scale and soft cap", _plain(), attributes={"scale": 0.3, "softcap": 1.5})
attention("boolean mask", _plain(numbers(3, 5) > 0))
attention("a row without keys", _plain(_DEAD))
attention("a row without keys, causal", _plain(_DEAD), attributes={"is_causal": 1})
attention("a boolean row without keys", _plain(np.isfinite(_DEAD)))
attention("mask by head", _plain(numbers(2, 4, 3, 5, seed=7)))
attention(
    "3 axes",
    {"q": _three(_Q), "k": _three(_K), "v": _three(_V), "mask": numbers(3, 5)},
    attributes={"q_num_heads": 4, "kv_num_heads": 2},
)
for _opset in (23, 24):
    attention("cache", _plain(numbers(3, 7), **_PAST), _opset, outputs=3, attributes={"is_causal": 1})
for _mode in range(4):
    for _opset in (23, 24):
        _given = {"qk_matmul_output_mode": _mode, "softcap": 1.2}
        attention(f"scores {_mode} with cap", _plain(numbers(3, 5)), _opset, outputs=4, attributes=_given)
    attention(f"scores {_mode}", _plain(numbers(3, 5)), 25, outputs=4, attributes={"qk_matmul_output_mode": _mode})
attention("short mask", _plain(numbers(3, 4)), 25)
for _causal in (0, 1):
    _lengths = {"pk": None, "pv": None, "n": np.array([5, 3])}
    attention(f"lengths {_causal}", _plain(**_lengths), 24, attributes={"is_causal": _causal})
    for _window in ({"left_window_size": 1}, {"left_window_size": 1, "right_window_size": 1}):
        _attributes = {"is_causal": _causal, **_window}
        attention(f"window {_attributes}", _plain(), 25, attributes=_attributes)
        attention(f"window and lengths {_attributes}", _plain(**_lengths), 25, attributes=_attributes)

# Rotary embeddings, whole and partial.
_COS, _SIN = numbers(9, 3, seed=1), numbers(9, 3, seed=2)
_AT = integers(2, 5, high=9)
for _pairs in (0, 1):
    for _turned in (0, 6):
        _x = numbers(2, 4, 5, 8 if _turned else 6)
        _attributes = {"interleaved": _pairs, "rotary_embedding_dim": _turned}
        _flat = {**_attributes, "num_heads": 4}
        for _title, _input, _given in (("", _x, _attributes), (" 3 axes", _three(_x), _flat)):
            _feeds = {"x": _input, "cos": _COS, "sin": _SIN, "at": _AT}
            CASES[f"RotaryEmbedding {_pairs} {_turned}{_title}"] = OpCase(
                "RotaryEmbedding", _feeds, 23, attributes=_given, smooth=("x", "cos", "sin")
            )
            _each = {"x": _input, "cos": numbers(2, 5, 3), "sin": numbers(2, 5, 3, seed=1)}
            CASES[f"RotaryEmbedding {_pairs} {_turned}{_title} by token"] = OpCase(
                "RotaryEmbedding", _each, 23, attributes=_given
            )
            for _places in (_AT, np.array([2])):
                CASES[f"ms RotaryEmbedding {_pairs} {_turned}{_title} {_places.ndim}"] = OpCase(
                    "RotaryEmbedding",
                    {"x": _input, "at": _places, "cos": _COS, "sin": _SIN},
                    domain=MS,
                    attributes={**_given, "num_heads": 4} if _turned else _given,
                    smooth=("x",),
                )

# onnxruntime's Attention: 2 samples of 4 tokens, 8 features, 2 heads.
_INSIDE = {"x": numbers(2, 4, 8), "w": numbers(8, 24, seed=1), "b": numbers(24, seed=2)}
_MASKS: dict[str, np.ndarray | None] = {
    "no mask": None,
    "lengths": np.array([4, 2], np.int32),
    "ends and starts": np.array([4, 3, 1, 0], np.int32),
    "mask of 2 axes": np.array([[1, 1, 1, 1], [0, 1, 1, 0]], np.int32),
    "mask of 3 axes": integers(2, 4, 4, high=2, kind=np.int32),
}
for _name, _mask in _MASKS.items():
    for _causal in (0, 1):
        CASES[f"ms Attention {_name} {_causal}"] = OpCase(
            "Attention",
            {**_INSIDE, "mask": _mask},
            domain=MS,
            attributes={"num_heads": 2, "unidirectional": _causal},
            smooth=("x", "w", "b"),
        )
CASES |= {
    "ms Attention bias": OpCase(
        "Attention",
        {**_INSIDE, "mask": _MASKS["lengths"], "past": None, "bias": numbers(1, 2, 4, 4, seed=6)},
        domain=MS,
        attributes={"num_heads": 2, "scale": 0.4},
        smooth=("x", "bias"),
    ),
    "ms Attention cache": OpCase(
        "Attention",
        {**_INSIDE, "mask": None, "past": numbers(2, 2, 2, 3, 4, seed=6)},
        domain=MS,
        attributes={"num_heads": 2, "unidirectional": 1},
        outputs=2,
        smooth=("x", "past"),
    ),
    "ms Attention wide values": OpCase(
        "Attention",
        {"x": numbers(2, 4, 8), "w": numbers(8, 28, seed=1), "b": numbers(28, seed=2)},
        domain=MS,
        attributes={"num_heads": 2, "qkv_hidden_sizes": [8, 8, 12]},
    ),
}

_MHA = {"q": numbers(2, 4, 8), "k": numbers(2, 5, 8, seed=1), "v": numbers(2, 5, 8, seed=2)}
_CACHE = {"pk": numbers(2, 2, 3, 4, seed=3), "pv": numbers(2, 2, 3, 4, seed=4)}


def mha(
    name: str, feeds: dict[str, np.ndarray | None], outputs: int = 1, smooth: tuple[str, ...] = ("q",), **more: Any
):
    """A case of MultiHeadAttention with two heads."""
    CASES[f"MultiHeadAttention {name}"] = OpCase(
        "MultiHeadAttention",
        feeds,
        domain=MS,
        attributes={"num_heads": 2, **more},
        outputs=outputs,
        smooth=smooth,
    )


mha("plain", dict(_MHA), smooth=("q", "k", "v"))
mha("bias", {**_MHA, "b": numbers(24, seed=5)}, smooth=("q", "k", "v", "b"))
mha("scale", dict(_MHA), scale=0.7)
mha("wide values", {**_MHA, "v": numbers(2, 5, 12, seed=2)})
mha("causal", {**_MHA, "k": numbers(2, 4, 8, seed=1), "v": numbers(2, 4, 8, seed=2)}, unidirectional=1)
mha("lengths", {**_MHA, "b": None, "mask": np.array([5, 2], np.int32)})
mha("padding", {**_MHA, "b": None, "mask": np.array([[1] * 5, [0, 1, 1, 1, 0]], np.int32)})
mha("filler", {**_MHA, "b": None, "mask": np.array([[1] * 5, [0, 1, 1, 1, 0]], np.int32)}, mask_filter_value=-3.0)
mha("attention bias", {**_MHA, "b": None, "mask": None, "bias": numbers(2, 2, 4, 5, seed=6)}, smooth=("q", "bias"))
mha("cache", {**_MHA, "b": None, "mask": None, "bias": None, **_CACHE}, outputs=3)
mha("keys by head", {"q": _MHA["q"], "k": numbers(2, 2, 5, 4, seed=1), "v": numbers(2, 2, 5, 4, seed=2)})
REFUSED["MultiHeadAttention with qk"] = (
    OpCase("MultiHeadAttention", dict(_MHA), domain=MS, attributes={"num_heads": 2}, outputs=4),
    "output qk",
)

_GQA = {"q": numbers(2, 4, 64), "k": numbers(2, 4, 32, seed=1), "v": numbers(2, 4, 32, seed=2)}
_NONE = {"pk": None, "pv": None}
_FILLED = {"n": np.array([3, 3], np.int32), "t": np.array(4, np.int32)}
_ANGLES = {"cos": numbers(9, 8, seed=7), "sin": numbers(9, 8, seed=8)}
_FULL = {"pk": numbers(2, 2, 3, 16, seed=3), "pv": numbers(2, 2, 3, 16, seed=4)}


def gqa(name: str, feeds: dict[str, np.ndarray | None], smooth: tuple[str, ...] = ("q",), **more: Any) -> OpCase:
    """A case of GroupQueryAttention with four heads and two for keys."""
    made = OpCase(
        "GroupQueryAttention",
        feeds,
        domain=MS,
        attributes={"num_heads": 4, "kv_num_heads": 2, **more},
        known=("n", "t"),
        outputs=3,
        smooth=smooth,
    )
    CASES[f"GroupQueryAttention {name}"] = made
    return made


gqa("plain", {**_GQA, **_NONE, **_FILLED}, smooth=("q", "k", "v"))
gqa("packed", {"q": numbers(2, 4, 128), "k": None, "v": None, **_NONE, **_FILLED})
gqa("window", {**_GQA, **_NONE, **_FILLED}, local_window_size=2)
gqa("cap and scale", {**_GQA, **_NONE, **_FILLED}, softcap=1.5, scale=0.4)
for _pairs in (0, 1):
    gqa(f"rotary {_pairs}", {**_GQA, **_NONE, **_FILLED, **_ANGLES}, do_rotary=1, rotary_interleaved=_pairs)
_ALONE = {name: array[:1] for name, array in {**_GQA, **_FULL}.items()}
gqa("cache", {**_ALONE, "n": np.array([6], np.int32), "t": np.array(7, np.int32), **_ANGLES}, do_rotary=1)
_NEXT = {"n": np.array([3, 3], np.int32), "t": np.array(4, np.int32)}
gqa("cache and one token", {**{n: a[:, :1] for n, a in _GQA.items()}, **_FULL, **_NEXT, **_ANGLES}, do_rotary=1)
gqa("bias", {**_GQA, **_NONE, **_FILLED, "c": None, "s": None, "at": None, "bias": numbers(2, 4, 4, 4, seed=9)})
_ROOM = {**_GQA, **_FULL, "n": np.array([5, 6], np.int32), "t": np.array(7, np.int32)}
for _name, _case, _why in (
    (
        "with a cache that has room",
        _ROOM,
        "cache is not full",
    ),
    ("with a sink", {**_GQA, **_NONE, **_FILLED, **dict.fromkeys("cspb"), "sink": numbers(4)}, "head_sink"),
):
    REFUSED[f"GroupQueryAttention {_name}"] = (gqa("refused", _case), _why)
    del CASES["GroupQueryAttention refused"]

_EMBED = {
    "ids": integers(2, 4, high=9, kind=np.int32),
    "seg": integers(2, 4, high=2, kind=np.int32),
    "w": numbers(9, 6),
    "p": numbers(7, 6, seed=1),
    "s": numbers(2, 6, seed=2),
    "g": numbers(6, seed=3),
    "b": numbers(6, seed=4),
}
CASES |= {
    "EmbedLayerNormalization": OpCase(
        "EmbedLayerNormalization", dict(_EMBED), domain=MS, smooth=("w", "p", "s", "g", "b"), outputs=2, tolerance=1e-3
    ),
    "EmbedLayerNormalization without segments": OpCase(
        "EmbedLayerNormalization", {**_EMBED, "seg": None, "s": None}, domain=MS, outputs=2, tolerance=1e-3
    ),
    "EmbedLayerNormalization with mask and places": OpCase(
        "EmbedLayerNormalization",
        {
            **_EMBED,
            "mask": np.array([[1, 1, 1, 1], [1, 1, 0, 0]], np.int32),
            "at": integers(2, 4, high=7, kind=np.int32),
        },
        domain=MS,
        outputs=3,
        tolerance=1e-3,
    ),
}
