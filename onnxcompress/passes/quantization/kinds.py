"""The numbers that a stored weight is made of: int8, int4 or float8, their limits, and the operator set they need."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np


@dataclass(frozen=True)
class WeightKind:
    """One type of stored weights.

    Attributes:
        name: Its name on the command line.
        low: Least number used.
        high: Largest number used. int8 leaves -128 out, so that no product of two leaves int16 twice over; int4 has too
            few numbers to leave one out.
        opset: First operator set whose DequantizeLinear reads it.
        bits: Bits of one number.
    """

    name: str
    low: int
    high: int
    opset: int
    bits: int

    @property
    def dtype(self) -> np.dtype:
        """The numpy type of the stored numbers."""
        return np.dtype(_DTYPES[self.name])

    @property
    def integer(self) -> bool:
        """False for float8, whose numbers lie closer near zero."""
        return self.name != "float8"

    def nearest(self, ratio: np.ndarray) -> np.ndarray:
        """The stored numbers nearest to ``weight / scale``, saturating; ties go to the even one."""
        if self.integer:
            return np.clip(np.rint(ratio), self.low, self.high).astype(self.dtype)
        return np.clip(ratio, self.low, self.high).astype(self.dtype)


_DTYPES = {"int8": np.int8, "int4": ml_dtypes.int4, "float8": ml_dtypes.float8_e4m3fn}

INT8 = WeightKind("int8", -127, 127, 13, 8)
INT7 = WeightKind("int8", -63, 63, 13, 8)
"""int8 in 7 bits, for x86 without VNNI."""
INT4 = WeightKind("int4", -8, 7, 21, 4)
FLOAT8 = WeightKind("float8", -448, 448, 19, 8)
"""E4M3FN: 4 bits of exponent, 3 of mantissa, no infinity."""


def weight_kind(name: str, *, reduce_range: bool = False) -> WeightKind:
    """The kind called `name`: int8, int4 or float8."""
    return {"int8": INT7 if reduce_range else INT8, "int4": INT4, "float8": FLOAT8}[name]
