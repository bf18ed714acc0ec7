"""The bias of an integer product: int32 at the scale of the accumulator.

ONNX Runtime adds the bias to the accumulator, whose scale is s_x s_w: the bias must carry exactly the float32 product
(Gemm's kernel does not even look and would use s_x s_w in its place). Where b / (s_x s_w) would leave int32, as in a
channel that training has switched off, the weight's scale is raised until it fits.
"""

from __future__ import annotations

import numpy as np

_LARGEST = 2**31 - 1


def least_weight_scale(bias: np.ndarray, input_scale: np.ndarray) -> np.ndarray:
    """The smallest weight scales, float64, under which `bias` fits into int32."""
    return 1.0001 * np.abs(bias.astype(np.float64)) / (_LARGEST * float(input_scale))


def bias_scale(input_scale: np.ndarray, weight_scale: np.ndarray) -> np.ndarray:
    """The float32 product, as the kernel computes it."""
    return np.asarray(input_scale.astype(np.float32) * weight_scale.astype(np.float32), np.float32)


def quantized_bias(bias: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The bias as int32 at `scale`."""
    steps = np.round(bias.astype(np.float64) / scale.astype(np.float64))
    return np.clip(steps, -_LARGEST, _LARGEST).astype(np.int32)
