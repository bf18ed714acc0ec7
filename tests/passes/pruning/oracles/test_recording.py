from __future__ import annotations

import numpy as np
import pytest

from onnxcompress.passes.pruning.oracles.recording import gap


def test_the_gap_of_scalars_is_found():
    assert gap(np.array(2.0, np.float32), np.array(1.0, np.float32)) == pytest.approx(0.5)
    assert gap(np.array(2.0), np.array(2.0)) == 0.0
    assert gap(np.array(2.0), np.array(np.nan)) == np.inf
