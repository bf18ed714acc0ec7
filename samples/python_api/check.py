"""The conformance kit on one's own pass: valid models, untouched inputs, same bytes twice, and more."""

from __future__ import annotations

from power_of_two import PowerOfTwo

from onnxcompress.testing import check_pass

print(check_pass(PowerOfTwo(steps=2)))
