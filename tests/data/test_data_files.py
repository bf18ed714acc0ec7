"""Files: read lazily, never unpickled, and refused by name when damaged or hostile."""

from __future__ import annotations

import io
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
from builders.data_models import model_taking

from onnxcompress.data import npz, open_data
from onnxcompress.data.npz import read_npy, read_npz
from onnxcompress.errors import DataError

ROWS = np.arange(40, dtype=np.float32).reshape(10, 4)
MODEL = "float[N,4] x"


def everything(source):
    return source.read(np.arange(len(source)))["x"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array", [ROWS, np.asfortranarray(ROWS), ROWS[:0], np.float32(3)], ids=["c", "f", "empty", "scalar"]
)
def test_npz_members_come_back_equal(tmp_path, save, array):
    save(tmp_path / "d.npz", first=np.zeros(3), x=array)
    np.testing.assert_array_equal(read_npz(tmp_path / "d.npz")["x"].load(), array)


def test_a_large_compressed_member_is_spilled_to_disk(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "d.npz", x=ROWS)
    monkeypatch.setattr(npz, "IN_MEMORY", 16)
    array = read_npz(tmp_path / "d.npz")["x"].load()
    assert isinstance(array, np.memmap)
    np.testing.assert_array_equal(array, ROWS)


def test_a_stored_member_is_mapped(tmp_path):
    np.savez(tmp_path / "d.npz", x=ROWS)
    assert isinstance(read_npz(tmp_path / "d.npz")["x"].load(), np.memmap)


def test_opening_reads_no_array(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "d.npz", x=ROWS, huge=ROWS)
    loaded = []
    original = npz._load_member
    monkeypatch.setattr(
        npz, "_load_member", lambda path, info, *rest: loaded.append(info) or original(path, info, *rest)
    )
    source = open_data(tmp_path / "d.npz", model_taking(MODEL))
    assert loaded == []
    source.read([1])
    source.read([2])
    assert [info.filename for info in loaded] == ["x.npy"]


def test_npy(tmp_path):
    np.save(tmp_path / "d.npy", ROWS)
    np.testing.assert_array_equal(everything(open_data(tmp_path / "d.npy", model_taking(MODEL))), ROWS)


def test_pickles_are_not_opened(tmp_path):
    bomb = np.array([{"a": 1}], dtype=object)
    np.save(tmp_path / "d.npy", bomb)
    np.savez(tmp_path / "d.npz", x=bomb)
    for name in ("d.npy", "d.npz"):
        with pytest.raises(DataError, match="Python objects") as caught:
            open_data(tmp_path / name, model_taking(MODEL))
        assert caught.value.code == "DATA-PICKLE" and "np.savez" in caught.value.hint
    (tmp_path / "p.npy").write_bytes(pickle.dumps(ROWS))
    with pytest.raises(DataError, match="valid npy header"):
        read_npy(tmp_path / "p.npy")


def _npy_header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


def test_a_header_that_promises_more_than_there_is(tmp_path):
    (tmp_path / "d.npy").write_bytes(_npy_header((65536, 65536)))
    with pytest.raises(DataError, match="promises 17179869184 bytes") as caught:
        read_npy(tmp_path / "d.npy")
    assert caught.value.code == "DATA-DAMAGED"
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", _npy_header((65536, 65536)) + bytes(64))
    with pytest.raises(DataError, match="not 64"):
        read_npz(tmp_path / "d.npz")


def test_a_zip_bomb_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "d.npz", x=np.zeros((1000, 1000), np.float32))
    assert read_npz(tmp_path / "d.npz")["x"].shape == (1000, 1000), "zeros that fit in memory are no bomb"
    monkeypatch.setattr(npz, "IN_MEMORY", 1 << 20)
    with pytest.raises(DataError, match="would become 4000128") as caught:
        read_npz(tmp_path / "d.npz")
    assert caught.value.code == "DATA-BOMB" and "np.savez (not compressed)" in caught.value.hint


def test_truncated_renamed_and_empty_files(tmp_path):
    np.savez(tmp_path / "whole.npz", x=ROWS)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:-40])
    np.save(tmp_path / "array.npy", ROWS)
    (tmp_path / "array.npy").rename(tmp_path / "renamed.npz")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("cut.npz", "renamed.npz", "empty.npz", "empty.npy"):
        with pytest.raises(DataError) as caught:
            open_data(tmp_path / name, model_taking(MODEL))
        assert caught.value.code == "DATA-DAMAGED" and name in str(caught.value)


def test_a_flipped_bit_in_a_compressed_member(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).random((20_000, 4), np.float32))
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)
    with pytest.raises(DataError, match="does not inflate"):
        everything(open_data(path, model_taking(MODEL)))


def test_safetensors_with_bfloat16(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": ROWS.astype(ml_dtypes.bfloat16), "labels": np.arange(10)}, tmp_path / "d.safetensors")
    source = open_data(tmp_path / "d.safetensors", model_taking(MODEL))
    np.testing.assert_array_equal(everything(source), ROWS)
    np.testing.assert_array_equal(source.labels([9]), [9])
    (tmp_path / "bad.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(DataError, match="complete safetensors file"):
        open_data(tmp_path / "bad.safetensors", model_taking(MODEL))


def test_a_folder_of_arrays_one_sample_or_one_batch_a_file(tmp_path):
    for name, pieces in {"samples": list(ROWS), "batches": [ROWS[:4], ROWS[4:9], ROWS[9:]]}.items():
        (tmp_path / name).mkdir()
        for index, piece in enumerate(pieces):
            np.save(tmp_path / name / f"{index:02}.npy", piece)
        np.testing.assert_array_equal(everything(open_data(tmp_path / name, model_taking(MODEL))), ROWS)


def test_a_folder_of_npz_with_labels_and_of_classes(tmp_path):
    for index, row in enumerate(ROWS[:6]):
        np.savez(tmp_path / f"{index}.npz", x=row, y=index)
    source = open_data(tmp_path, model_taking(MODEL))
    np.testing.assert_array_equal(source.labels([5, 0]), [5, 0])
    classes = tmp_path / "classes"
    for name in ("b", "a"):
        (classes / name).mkdir(parents=True)
        np.save(classes / name / "0.npy", ROWS[0])
        np.save(classes / name / "1.npy", ROWS[1])
    np.testing.assert_array_equal(open_data(classes, model_taking(MODEL)).labels([0, 1, 2, 3]), [0, 0, 1, 1])


def test_samples_of_different_sizes_are_read_one_at_a_time(tmp_path):
    for index in range(3):
        np.save(tmp_path / f"{index}.npy", np.ones((index + 1, 4), np.float32))
    source = open_data(tmp_path, model_taking("float[N,T,4] x"))
    assert not source.uniform and not source.subset([0, 1]).uniform
    assert [batch["x"].shape for batch in source.batches(16)] == [(1, 1, 4), (1, 2, 4), (1, 3, 4)]
    with pytest.raises(DataError, match=r"shapes are \[1, 4\], \[2, 4\]") as caught:
        source.read([0, 1])
    assert caught.value.code == "DATA-RAGGED"


def test_folders_that_cannot_be_used(tmp_path):
    model = model_taking(MODEL)
    with pytest.raises(DataError, match="holds no samples") as caught:
        open_data(tmp_path, model)
    assert caught.value.code == "DATA-EMPTY"
    np.savez(tmp_path / "a.npz", x=ROWS[0])
    np.savez(tmp_path / "b.npz", x=ROWS[0], extra=ROWS[0])
    with pytest.raises(DataError, match=r"keys \['extra', 'x'\]"):
        open_data(tmp_path, model)
    np.save(tmp_path / "c.npy", ROWS[0])
    with pytest.raises(DataError, match=r"\.npy, \.npz files side by side"):
        open_data(tmp_path, model)
