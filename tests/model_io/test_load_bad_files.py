"""Files that are no model: each is refused with a stable code and a text that says what to do."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from builders.io_models import matmul

from onnxcompress.errors import CompressError, ModelError, ResourceError
from onnxcompress.model_io import Limits, fingerprint, load, precheck, to_bytes


def _zip(names: list[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


FOREIGN: dict[str, tuple[bytes, str]] = {
    "zip": (_zip(["readme.txt"]), "a zip archive"),
    "npz": (_zip(["x.npy", "y.npy"]), "NumPy arrays"),
    "torch": (_zip(["net/data.pkl", "net/data/0"]), "a PyTorch file"),
    "cut zip": (_zip(["readme.txt"])[:40], "a damaged zip archive"),
    "pickle": (pickle.dumps({"w": [1.0, 2.0]}, protocol=2), "a Python pickle"),
    "npy": (_npy(), "a NumPy array"),
    "gzip": (gzip.compress(b"x" * 100), "a gzip archive"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(64), "an HDF5 file"),
    "tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(64), "a TensorFlow Lite model"),
    "ort": (b"\x1c\x00\x00\x00ORTM" + bytes(64), "ONNX Runtime's own format"),
    "safetensors": (b"\x10\x00\x00\x00\x00\x00\x00\x00" + b'{"__metadata__":{}}', "a safetensors file"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer"),
    "json": (b'{"ir_version": 8}', "JSON text"),
    "xml": (b'<?xml version="1.0"?><net name="m"/>', "an XML or HTML page"),
    "onnx text": (
        b'<ir_version: 8, opset_import: ["": 17]>\ng (float[1] x) => (float[1] y) { y = Relu(x) }',
        "text form",
    ),
    "text": (b"hello, world\n", "plain text"),
}


def fails(source: object, **options: object) -> CompressError:
    with pytest.raises(CompressError) as caught:
        load(source, **options)
    error = caught.value
    assert error.what
    assert error.why
    assert error.hint.endswith((".", ")."))
    assert error.code.startswith("MODEL-")
    assert "\n" not in str(error)
    return error


@pytest.mark.parametrize("kind", sorted(FOREIGN))
def test_a_renamed_file_is_told_for_what_it_is(tmp_path: Path, kind: str) -> None:
    content, name = FOREIGN[kind]
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    error = fails(path)
    assert error.code == "MODEL-NOT-ONNX"
    assert name in error.why


def _missing(folder: Path) -> Path:
    (folder / "other.onnx").write_bytes(b"x")
    return folder / "model.onnx"


def _no_folder(folder: Path) -> Path:
    return folder / "nowhere" / "model.onnx"


def _empty(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.touch()
    return path


def _broken_link(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.symlink_to(folder / "gone.onnx")
    return path


def _pipe(folder: Path) -> Path:
    path = folder / "model.onnx"
    os.mkfifo(path)
    return path


@pytest.mark.parametrize(
    ("make", "code", "text"),
    [
        (_missing, "MODEL-NOT-FOUND", "other.onnx"),
        (_no_folder, "MODEL-NOT-FOUND", "nowhere"),
        (_empty, "MODEL-EMPTY", "0 bytes"),
        (_broken_link, "MODEL-BROKEN-LINK", "gone.onnx"),
        (_pipe, "MODEL-NOT-A-FILE", "pipe"),
        (lambda folder: folder, "MODEL-IS-FOLDER", "folder"),
    ],
)
def test_what_is_not_a_file(tmp_path: Path, make: Callable[[Path], Path], code: str, text: str) -> None:
    error = fails(make(tmp_path))
    assert error.code == code
    assert text in str(error)
    assert isinstance(error, ModelError)


def test_a_folder_hints_at_the_models_inside(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    assert "a.onnx" in fails(tmp_path).hint


def test_every_truncation_is_refused_and_most_are_told_as_such(tmp_path: Path) -> None:
    whole = matmul(16).SerializeToString()
    path = tmp_path / "model.onnx"
    codes = []
    for length in range(1, len(whole), 3):
        path.write_bytes(whole[:length])
        codes.append(fails(path).code)
    assert set(codes) <= {"MODEL-TRUNCATED", "MODEL-NOT-ONNX", "MODEL-NO-OPSET"}
    assert codes.count("MODEL-TRUNCATED") > 0.9 * len(codes)


def test_flipped_bytes_never_escape_as_another_error() -> None:
    """A damaged model is refused with a code, or it can be used and written."""
    whole = matmul(4).SerializeToString()
    generator = np.random.default_rng(5)
    codes: list[str] = []
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[int(generator.integers(len(whole)))] = int(generator.integers(256))
        codes.append(_code_of(bytes(damaged)))
    assert codes.count("used") > 50
    assert len(codes) - codes.count("used") > 50
    assert all(codes)


def _code_of(data: bytes) -> str:
    try:
        model = load(data)
        fingerprint(model)
        to_bytes(model)
    except CompressError as error:
        return error.code
    return "used"


def test_random_bytes_are_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    for seed in range(50):
        path.write_bytes(np.random.default_rng(seed).bytes(2000))
        assert fails(path).code in ("MODEL-NOT-ONNX", "MODEL-TRUNCATED", "MODEL-DAMAGED")


def test_a_file_above_the_cap_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)  # sparse: takes no room
    assert fails(path).code == "MODEL-TOO-LARGE"
    path.write_bytes(matmul(16).SerializeToString())
    assert fails(path, limits=Limits(max_proto_bytes=100)).code == "MODEL-TOO-LARGE"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_a_matter_of_permissions(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(matmul().SerializeToString())
    path.chmod(0)
    assert isinstance(fails(path), ResourceError)


def test_permission_errors_are_resource_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(matmul().SerializeToString())

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    error = fails(path)
    assert isinstance(error, ResourceError)
    assert error.code == "MODEL-NOT-READABLE"


def test_something_that_is_no_source(tmp_path: Path) -> None:
    assert fails(3.5).code == "MODEL-NOT-ONNX"
    assert fails(b"junk").code == "MODEL-DAMAGED"
    assert fails(b"").code == "MODEL-NOT-ONNX"


def test_precheck_needs_the_standard_library_only(tmp_path: Path) -> None:
    script = (
        "import sys; from onnxcompress.model_io import precheck\n"
        "try: precheck('missing.onnx')\n"
        "except Exception as e: print(e.code)\n"
        "print(sorted({'onnx', 'onnx_ir', 'numpy', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split("\n")[:2] == ["MODEL-NOT-FOUND", "[]"]


def test_precheck_makes_paths_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(matmul().SerializeToString())
    monkeypatch.chdir(tmp_path)
    assert precheck("model.onnx") == tmp_path / "model.onnx"
    assert load("model.onnx").graph.name == "g"
