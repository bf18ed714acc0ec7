"""External data that reaches for foreign bytes: refused in every place of a model, by absolute and relative path."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders.io_models import external, model, placements

from onnxcompress.errors import ModelError
from onnxcompress.model_io import Limits, load
from onnxcompress.model_io.tensors import iter_tensors

SECRET = b"secret bytes, do not read them!!" * 2  # 64 bytes: sixteen float32
PLACES = ("initializer", "attribute", "subgraph", "function")


def _tensor(dims: list[int] | None = None, kind: int = 1, **entries: object) -> onnx.TensorProto:
    return external("t", [16] if dims is None else dims, kind=kind, **entries)


def _linked_folder(home: Path, secret: Path) -> onnx.TensorProto:
    (home / "sub").symlink_to(secret.parent)
    return _tensor(location=f"sub/{secret.name}")


def _symlink(home: Path, secret: Path) -> onnx.TensorProto:
    (home / "w.bin").symlink_to(secret)
    return _tensor(location="w.bin")


def _symlink_chain(home: Path, secret: Path) -> onnx.TensorProto:
    (home / "inner.bin").symlink_to(secret)
    (home / "w.bin").symlink_to(home / "inner.bin")
    return _tensor(location="w.bin")


def _hardlink(home: Path, secret: Path) -> onnx.TensorProto:
    os.link(secret, home / "w.bin")
    return _tensor(location="w.bin")


def _device(home: Path, secret: Path) -> onnx.TensorProto:
    (home / "w.bin").symlink_to("/dev/zero")
    return _tensor(location="w.bin")


def _pipe(home: Path, secret: Path) -> onnx.TensorProto:
    os.mkfifo(home / "w.bin")
    return _tensor(location="w.bin")


def _folder(home: Path, secret: Path) -> onnx.TensorProto:
    (home / "w.bin").mkdir()
    return _tensor(location="w.bin")


def _own(tensor: onnx.TensorProto) -> Callable[[Path, Path], onnx.TensorProto]:
    """A tensor over a proper 64-byte file of the model's own."""

    def make(home: Path, secret: Path) -> onnx.TensorProto:
        (home / "own.bin").write_bytes(bytes(64))
        return tensor

    return make


def _plain(location: str) -> Callable[[Path, Path], onnx.TensorProto]:
    return lambda home, secret: _tensor(location=location.format(secret=secret))


def _repeated(home: Path, secret: Path) -> onnx.TensorProto:
    (home / "own.bin").write_bytes(bytes(64))
    tensor = _tensor(location="own.bin")
    tensor.external_data.add(key="location", value=str(secret))
    return tensor


ATTACKS: dict[str, tuple[Callable[[Path, Path], onnx.TensorProto], str]] = {
    "parent": (_plain("../secret.bin"), "LOCATION"),
    "parent in the middle": (_plain("a/../../secret.bin"), "LOCATION"),
    "absolute": (_plain("{secret}"), "LOCATION"),
    "backslash": (_plain("..\\secret.bin"), "LOCATION"),
    "drive": (_plain("C:secret.bin"), "LOCATION"),
    "empty": (_plain(""), "LOCATION"),
    "dot": (_plain("."), "LOCATION"),
    "null byte": (_plain("own.bin\0.txt"), "LOCATION"),
    "missing": (_plain("nothing.bin"), "MISSING"),
    "symlink": (_symlink, "OUTSIDE"),
    "symlink chain": (_symlink_chain, "OUTSIDE"),
    "linked folder": (_linked_folder, "OUTSIDE"),
    "hard link": (_hardlink, "HARDLINK"),
    "device": (_device, "OUTSIDE"),
    "pipe": (_pipe, "NOT-A-FILE"),
    "folder": (_folder, "NOT-A-FILE"),
    "negative offset": (_own(_tensor(location="own.bin", offset=-8)), "RANGE"),
    "signed offset": (_own(_tensor(location="own.bin", offset="+0")), "RANGE"),
    "length in letters": (_own(_tensor(location="own.bin", length="abc")), "RANGE"),
    "offset behind the end": (_own(_tensor(location="own.bin", offset=1 << 20)), "RANGE"),
    "huge length": (_own(_tensor(location="own.bin", length=1 << 62)), "RANGE"),
    "short length": (_own(_tensor(location="own.bin", length=4)), "RANGE"),
    "huge dims": (_own(_tensor([1 << 40, 1 << 20], location="own.bin")), "RANGE"),
    "unknown key": (_own(_tensor(location="own.bin", __class__="x")), "KEY"),
    "repeated key": (_repeated, "KEY"),
    "text": (_own(_tensor([2], kind=8, location="own.bin")), "STRING"),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "secret.bin").write_bytes(SECRET)
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("attack", sorted(ATTACKS))
def test_attack(home: Path, attack: str, place: str, relative: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    make, code = ATTACKS[attack]
    proto = placements(make(home, home.parent / "secret.bin"))[place]
    (home / "model.onnx").write_bytes(proto.SerializeToString())
    monkeypatch.chdir(home)
    with pytest.raises(ModelError) as caught:
        load("model.onnx" if relative else home / "model.onnx")
    assert caught.value.code == f"MODEL-EXTERNAL-{code}"
    assert caught.value.where
    assert "secret bytes" not in str(caught.value)


@pytest.mark.parametrize("place", PLACES)
def test_negative_dims(home: Path, place: str) -> None:
    tensor = _own(_tensor([-4], location="own.bin"))(home, home)
    with pytest.raises(ModelError) as caught:
        load(_write(home, placements(tensor)[place]))
    assert caught.value.code == "MODEL-TENSOR-DIMS"


@pytest.mark.parametrize("relative", [False, True], ids=["absolute", "relative"])
@pytest.mark.parametrize("place", PLACES)
def test_honest_data_is_mapped_from_the_models_folder(
    home: Path, place: str, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = np.arange(20, dtype=np.float32)
    (home / "sub").mkdir()
    (home / "sub" / "own.bin").write_bytes(numbers.tobytes())
    tensor = _tensor(location="sub/own.bin", offset=16, length=64, checksum="0" * 40)
    _write(home, placements(tensor)[place])
    monkeypatch.chdir(home if relative else home.parent)
    loaded = load("model.onnx" if relative else home / "model.onnx")
    found = [t.numpy() for t in iter_tensors(loaded) if t.name in ("t", "c") and t.size == 16]
    assert found
    for array in found:
        np.testing.assert_array_equal(array, numbers[4:])
        assert not array.flags.writeable


def test_links_inside_the_folder_are_fine(home: Path) -> None:
    (home / "real.bin").write_bytes(bytes(64))
    (home / "w.bin").symlink_to("real.bin")
    assert load(_write(home, placements(_tensor(location="w.bin"))["initializer"]))


def test_a_hard_link_may_be_allowed(home: Path) -> None:
    proto = placements(_hardlink(home, home.parent / "secret.bin"))["initializer"]
    assert load(_write(home, proto), limits=Limits(allow_hardlinks=True))


def test_one_more_root_may_be_allowed(home: Path) -> None:
    """The layout of the Hugging Face cache: snapshots link to blobs beside them."""
    blobs = home.parent / "blobs"
    blobs.mkdir()
    (blobs / "abc").write_bytes(SECRET)
    (home / "w.bin").symlink_to("../blobs/abc")
    path = _write(home, placements(_tensor(location="w.bin"))["initializer"])
    with pytest.raises(ModelError) as caught:
        load(path)
    assert "allow_external_root" in caught.value.hint
    assert load(path, limits=Limits(allow_external_root=blobs))


def test_a_proto_without_a_folder_has_no_external_data(home: Path) -> None:
    (home / "own.bin").write_bytes(bytes(64))
    proto = placements(_tensor(location="own.bin"))["initializer"]
    with pytest.raises(ModelError) as caught:
        load(proto)
    assert caught.value.code == "MODEL-EXTERNAL-NO-FOLDER"
    assert load(proto, folder=home)
    assert load(proto.SerializeToString(), folder=home)


def test_empty_and_sub_byte_tensors(home: Path) -> None:
    (home / "empty.bin").touch()
    (home / "own.bin").write_bytes(bytes([0x21, 0x03]))
    empty = external("e", [0, 3], location="empty.bin", length=0)
    packed = external("p", [3], kind=onnx.TensorProto.INT4, location="own.bin", length=2)
    loaded = load(_write(home, model([], [], [], [empty, packed], opset=21)))
    assert loaded.graph.initializers["e"].const_value.numpy().shape == (0, 3)
    assert loaded.graph.initializers["p"].const_value.numpy().astype(int).tolist() == [1, 2, 3]


def _write(home: Path, proto: onnx.ModelProto) -> Path:
    path = home / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path
