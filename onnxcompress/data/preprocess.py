"""From stored numbers to what the model takes: y = (x * scale - mean) / std, channel order, data type.

The presets are the conventions of the frameworks whose models are found in the wild; mean and std are in the units
that `scale` yields (0..1 for 1/255, 0..255 for 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxcompress.errors import UsageError


@dataclass(frozen=True)
class Preprocess:
    """Arithmetic on one input. A single number of `mean` or `std` serves all channels.

    Attributes:
        scale: Factor on the stored numbers; None means 1/255 for uint8 data where mean or std is given, else 1.
        mean: Subtracted after scaling, one number or one a channel.
        std: Divisor after the mean, one number or one a channel.
        channel_order: ``rgb`` keeps the channels, ``bgr`` reverses them (mean and std are in the model's order).
    """

    scale: float | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    channel_order: str = "rgb"

    @property
    def is_identity(self) -> bool:
        """True where the numbers are passed on as they are."""
        return self.scale in (None, 1.0) and not self.mean and not self.std

    def apply(self, array: np.ndarray, *, channel_axis: int | None, dtype: np.dtype) -> np.ndarray:
        """`array` (first axis counts samples) as `dtype`; the arithmetic is in float32."""
        if self.channel_order == "bgr" and channel_axis is not None:
            array = np.flip(array, axis=channel_axis)
        if not self.is_identity:
            array = self._normalised(array, channel_axis)
        return np.ascontiguousarray(array, dtype=dtype)

    def _normalised(self, array: np.ndarray, channel_axis: int | None) -> np.ndarray:
        scale = self.scale if self.scale is not None else (1 / 255 if array.dtype == np.uint8 else 1.0)
        values = array.astype(np.float32) * np.float32(scale)
        if self.mean:
            values -= self._per_channel(self.mean, array.ndim, channel_axis)
        if self.std:
            values /= self._per_channel(self.std, array.ndim, channel_axis)
        return values

    @staticmethod
    def _per_channel(numbers: tuple[float, ...], rank: int, channel_axis: int | None) -> np.ndarray:
        shape = [1] * rank
        if len(numbers) > 1 and channel_axis is not None:
            shape[channel_axis] = len(numbers)
        return np.asarray(numbers, dtype=np.float32).reshape(shape)


PRESETS: dict[str, Preprocess] = {
    "none": Preprocess(scale=1.0),
    "unit": Preprocess(scale=1 / 255),
    "tf": Preprocess(scale=1 / 127.5, mean=(1.0,)),
    "imagenet": Preprocess(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "imagenet-caffe-bgr": Preprocess(scale=1.0, mean=(103.939, 116.779, 123.68), channel_order="bgr"),
    "clip": Preprocess(
        scale=1 / 255, mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
    ),
}
"""torchvision, Keras (`tf` and `caffe` modes of `preprocess_input`) and OpenAI's CLIP, in that order of age."""


def make_preprocess(
    preset: str | None,
    *,
    mean: float | Sequence[float] | None,
    std: float | Sequence[float] | None,
    scale: float | str | None,
    channel_order: str | None,
) -> Preprocess:
    """The preset with the given options on top.

    Raises:
        UsageError: Unknown preset or channel order, a std of 0, or a scale that is no number.
    """
    if preset is not None and preset not in PRESETS:
        names = ", ".join(PRESETS)
        raise UsageError(f"unknown preset {preset!r}", hint=f"Use one of: {names}.", code="USAGE-PRESET")
    if channel_order not in (None, "rgb", "bgr"):
        raise UsageError(f"unknown channel order {channel_order!r}", hint="Use rgb or bgr.", code="USAGE-CHANNELS")
    base = PRESETS[preset] if preset else Preprocess()
    given = {"mean": _numbers("mean", mean), "std": _numbers("std", std), "scale": parse_scale(scale)}
    chosen = replace(base, **{k: v for k, v in given.items() if v is not None})
    return replace(chosen, channel_order=channel_order) if channel_order else chosen


def parse_scale(scale: float | str | None) -> float | None:
    """A factor, also as text such as ``1/255``.

    Raises:
        UsageError: Where it is no finite number other than 0.
    """
    if scale is None:
        return None
    top, _, bottom = str(scale).partition("/")
    try:
        value = float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        value = float("nan")
    if not np.isfinite(value) or value == 0:
        raise UsageError(f"--scale {scale} is not a factor", hint="Give a number such as 1/255.", code="USAGE-SCALE")
    return value


def _numbers(name: str, given: float | Sequence[float] | None) -> tuple[float, ...] | None:
    if given is None:
        return None
    numbers = tuple(float(x) for x in np.atleast_1d(np.asarray(given, dtype=np.float64)))
    if not numbers or not np.isfinite(numbers).all() or (name == "std" and 0.0 in numbers):
        raise UsageError(f"--{name} needs finite numbers, and a std is never 0", code="USAGE-NORMALISE")
    return numbers
