"""NaN and infinity in tensors that get a range: counted by tensor, and told or refused by its name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from onnxcompress.calibrators.float_histogram import FloatHistogram
from onnxcompress.errors import DataError
from onnxcompress.report import Finding, Severity

_HINT = "Check the samples and the model in float; a node can be left out with --exclude."


def not_finite(found: Mapping[str, FloatHistogram], *, strict: bool) -> Iterator[Finding]:
    """A warning for each tensor that holds NaN or infinity; its range comes from its finite values.

    Args:
        found: Histograms by tensor name.
        strict: Refuse instead of warning.

    Raises:
        DataError: Where a tensor has no finite value at all, or any that is not and `strict` is set.
    """
    for name, hist in found.items():
        if not (hist.nan or hist.inf):
            continue
        why = f"{hist.nan} of its {hist.elements} elements are NaN and {hist.inf} infinite on these samples"
        if strict or hist.nan + hist.inf == hist.elements:
            where = f"tensor {name}"
            raise DataError("cannot calibrate", where=where, why=why, hint=_HINT, code="DATA-NOT-FINITE")
        numbers = {"nan": hist.nan, "inf": hist.inf, "elements": hist.elements}
        message = f"{why}; its range comes from the finite ones (--strict refuses)"
        yield Finding("QUANT-NOT-FINITE", message, name, Severity.WARNING, numbers)
