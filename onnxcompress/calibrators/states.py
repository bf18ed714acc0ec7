"""Histograms of many tensors as bytes, and back; what is read is believed only after it has been checked.

The bytes are the SHA-256 of what follows, then arrays in the safetensors format (nothing in it can run code): names as
JSON in UTF-8, and for all tensors together octave keys, counts, bounds and special counts. Equal states
give equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from onnxcompress.calibrators.float_histogram import PER_OCTAVE, SIGN_OCTAVE, FloatHistogram

_DIGEST = 32
_FIELDS = {"names": "u1", "sizes": "i8", "octaves": "i8", "counts": "i8", "bounds": "f8", "special": "i8"}


def encode(found: Mapping[str, FloatHistogram]) -> bytes:
    """All histograms, by name in sorted order."""
    names = sorted(found)
    states = [found[name].state_dict() for name in names]
    arrays = {
        "names": np.frombuffer(json.dumps(names).encode(), np.uint8),
        "sizes": np.array([len(state["octaves"]) for state in states], np.int64),
        "octaves": np.concatenate([np.zeros(0, np.int64), *(state["octaves"] for state in states)]),
        "counts": np.concatenate([np.zeros((0, PER_OCTAVE), np.int64), *(state["counts"] for state in states)]),
        "bounds": np.array([state["bounds"] for state in states], np.float64).reshape(-1, 2),
        "special": np.array([state["special"] for state in states], np.int64).reshape(-1, 4),
    }
    body = save(arrays)
    return hashlib.sha256(body).digest() + body


def decode(data: bytes) -> dict[str, FloatHistogram]:
    """What `encode` was given.

    Raises:
        ValueError: Where the bytes are cut off, damaged, or no such states.
    """
    if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        raise ValueError("it is cut off or damaged")
    try:
        arrays = load(data[_DIGEST:])
        names = json.loads(arrays["names"].tobytes())
    except (SafetensorError, KeyError, UnicodeDecodeError) as fault:
        raise ValueError(f"it holds no histograms ({type(fault).__name__})") from fault
    _check(arrays, names)
    ends = np.cumsum(arrays["sizes"])[:-1]
    octaves, counts = (np.split(arrays[field], ends) for field in ("octaves", "counts"))
    found: dict[str, FloatHistogram] = {}
    for i, name in enumerate(names):
        parts = {"octaves": octaves[i], "counts": counts[i]}
        found[name] = FloatHistogram.from_state({**parts, **{f: arrays[f][i] for f in ("bounds", "special")}})
    return found


def _check(arrays: Mapping[str, np.ndarray], names: object) -> None:
    """Refuse whatever `FloatHistogram.from_state` could trip over."""
    if sorted(arrays) != sorted(_FIELDS) or any(arrays[k].dtype != np.dtype(v) for k, v in _FIELDS.items()):
        raise ValueError("its arrays are others than those of histograms")
    tensors = len(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else -1
    sizes, octaves, counts = arrays["sizes"], arrays["octaves"], arrays["counts"]
    shapes = {
        "sizes": (tensors,),
        "octaves": (len(octaves),),
        "counts": (len(octaves), PER_OCTAVE),
        "bounds": (tensors, 2),
        "special": (tensors, 4),
    }
    fits = all(arrays[field].shape == shape for field, shape in shapes.items())
    if not fits or (sizes < 0).any() or sizes.sum() != len(octaves) or not len(sizes):
        raise ValueError("its arrays do not fit together")
    known = (octaves >= 0) & (octaves < 2 * SIGN_OCTAVE) & (octaves % SIGN_OCTAVE != SIGN_OCTAVE - 1)
    if not known.all() or (counts < 0).any() or (arrays["special"] < 0).any() or np.isnan(arrays["bounds"]).any():
        raise ValueError("its numbers are none that can be counted")
