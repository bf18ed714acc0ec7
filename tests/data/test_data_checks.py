"""`check_data`: what is refused, what is only remarked on."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from builders.data_models import model_taking

from onnxcompress.data import ArraySource, check_data, checks, open_data, remarks
from onnxcompress.errors import DataError
from onnxcompress.report.records import Severity

RNG = np.random.Generator(np.random.PCG64(0))
GOOD = RNG.standard_normal((20, 3, 4), dtype=np.float32)
MODEL = "float[N,3,4] x"


def codes(array, model=MODEL):
    return [finding.code for finding in check_data(ArraySource({"x": array}), model_taking(model))]


def test_good_data_passes_without_a_word():
    assert codes(GOOD) == []
    assert codes(np.zeros((20, 4), np.int64), "int64[N,4] x") == []


def test_nan_is_found_wherever_it_is(monkeypatch):
    monkeypatch.setattr(checks, "_CHUNK_BYTES", 4 * GOOD[0].nbytes)
    for value in (np.nan, np.inf):
        array = GOOD.copy()
        array[17, 1, 2] = value
        with pytest.raises(DataError, match="sample 17 of input 'x'") as caught:
            codes(array)
        assert caught.value.code == "DATA-NAN" and "leave out that sample" in caught.value.hint


def test_raw_pixels_and_constants_are_remarked_on():
    findings = check_data(ArraySource({"x": np.rint(np.abs(GOOD) * 40) + 70}), model_taking(MODEL))
    assert [f.code for f in findings] == ["DATA-RAW-PIXELS"]
    assert findings[0].severity is Severity.WARNING and "--scale 1/255" in findings[0].message
    assert codes(np.ones((20, 3, 4), np.float32)) == ["DATA-CONSTANT"]


def test_remarks_are_sentences_without_repeats():
    raw = ArraySource({"x": np.rint(np.abs(GOOD) * 40) + 70})
    sentences = remarks(raw, None, raw, model=model_taking(MODEL))
    assert len(sentences) == 1
    assert "raw pixels" in sentences[0]


@pytest.mark.parametrize(
    ("array", "code", "words"),
    [
        (GOOD.astype(np.float64), "DATA-DTYPE", "Convert it to float32"),
        (GOOD[:, :2], "DATA-SHAPE", "2 x 4"),
        (GOOD[:, 0, 0], "DATA-RANK", "a scalar"),
        (GOOD[:0], "DATA-EMPTY", "0 samples"),
    ],
)
def test_arrays_that_do_not_fit(array, code, words):
    with pytest.raises(DataError) as caught:
        codes(array)
    assert caught.value.code == code and words in str(caught.value)


def test_names_that_do_not_fit():
    model = model_taking(MODEL, "float[1,N,8] h")
    with pytest.raises(DataError, match="the model takes x, h") as caught:
        check_data(ArraySource({"x": GOOD}), model)
    assert caught.value.code == "DATA-MISSING-INPUT" and "'h'" in caught.value.where
    with pytest.raises(DataError) as caught:
        check_data(ArraySource({"x": GOOD, "z": GOOD}), model_taking(MODEL))
    assert caught.value.code == "DATA-UNKNOWN-INPUT"


def test_ids_beyond_the_table():
    model = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 21]>
        g (int64[N,T] ids) => (float[N,T,2] y) <float[3,2] table = {0,1,2,3,4,5}> { y = Gather(table, ids) }
    """)
    assert check_data(ArraySource({"ids": np.array([[0, 2, -3]])}), model) == []
    for wrong in (3, -4):
        with pytest.raises(DataError, match="table has 3 rows") as caught:
            check_data(ArraySource({"ids": np.array([[0, 1], [1, wrong]])}), model)
        assert caught.value.code == "DATA-ID-RANGE" and "sample 1" in caught.value.where


def test_an_opened_source_with_state_and_scalar_passes():
    model = model_taking("float[N,4] x", "float[1,N,8] h", "int64 rate")
    arrays = {"x": GOOD[:, 0], "h": RNG.standard_normal((20, 1, 8), dtype=np.float32), "rate": np.int64(16000)}
    assert check_data(open_data(arrays, model), model) == []


def test_a_sample_is_named_by_its_place_in_the_users_data():
    array = GOOD.copy()
    array[17, 1, 2] = np.nan
    for part in ArraySource({"x": array}).subset(range(4, 20)).split(0.5, seed=1):
        rows = [part.origin(i) for i in range(len(part))]
        np.testing.assert_array_equal(part.read(range(len(part)))["x"], array[rows])
        if 17 in rows:
            with pytest.raises(DataError, match="sample 17 of input 'x'"):
                check_data(part, model_taking(MODEL))
