"""Saving: whole or not at all, the old output untouched, nothing left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from builders.io_models import matmul, placements

from onnxcompress.errors import CompressError, ResourceError, UsageError
from onnxcompress.model_io import (
    Limits,
    fingerprint,
    load,
    save,
    stamp,
    to_bytes,
    to_proto,
    write_bytes_atomic,
    write_text_atomic,
)
from onnxcompress.model_io.atomic import failing_as_resource

SIZE = 64


@pytest.fixture
def model() -> ir.Model:
    return load(matmul(SIZE))


@pytest.fixture
def other() -> ir.Model:
    return load(matmul(SIZE, seed=1))


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def content(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.iterdir()}


def fails(kind: type[CompressError], code: str, action: Callable[[], object]) -> CompressError:
    with pytest.raises(kind) as caught:
        action()
    assert caught.value.code == code
    assert caught.value.hint
    return caught.value


def test_small_models_are_one_file(tmp_path: Path, model: ir.Model) -> None:
    path = save(model, tmp_path / "m.onnx")
    assert files(tmp_path) == ["m.onnx"]
    assert path.read_bytes() == to_bytes(model)
    onnx.checker.check_model(path, full_check=True)


def test_relative_paths_go_to_the_current_folder(
    tmp_path: Path, model: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert save(model, "m.onnx") == tmp_path / "m.onnx"


def test_the_umask_and_an_old_mode_are_respected(tmp_path: Path, model: ir.Model) -> None:
    mask = os.umask(0o027)
    try:
        path = save(model, tmp_path / "m.onnx")
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        path.chmod(0o600)
        save(model, path, force=True)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(mask)


@pytest.mark.parametrize("external", [False, True])
def test_nothing_is_overwritten_without_force(tmp_path: Path, model: ir.Model, other: ir.Model, external: bool) -> None:
    path = save(model, tmp_path / "m.onnx", external=external)
    before = content(tmp_path)
    error = fails(UsageError, "SAVE-EXISTS", lambda: save(other, path, external=external))
    assert "--force" in error.hint
    assert content(tmp_path) == before
    save(other, path, force=True, external=external)
    assert fingerprint(load(path)) == fingerprint(other)


def test_a_file_that_appears_while_we_write_is_not_overwritten(
    tmp_path: Path, model: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m.onnx"
    real = os.fsync

    def sync_late(descriptor: int) -> None:
        real(descriptor)
        target.write_bytes(b"theirs")

    monkeypatch.setattr(os, "fsync", sync_late)
    fails(UsageError, "SAVE-EXISTS", lambda: save(model, target))
    assert content(tmp_path) == {"m.onnx": b"theirs"}


def test_targets_that_are_no_files(tmp_path: Path, model: ir.Model) -> None:
    fails(UsageError, "SAVE-NOT-A-FILE", lambda: save(model, tmp_path, force=True))
    os.mkfifo(tmp_path / "pipe")
    fails(UsageError, "SAVE-NOT-A-FILE", lambda: save(model, tmp_path / "pipe", force=True))
    fails(ResourceError, "SAVE-NO-FOLDER", lambda: save(model, tmp_path / "no" / "m.onnx"))
    (tmp_path / "file").touch()
    fails(ResourceError, "SAVE-NO-FOLDER", lambda: save(model, tmp_path / "file" / "m.onnx"))


def test_a_link_is_replaced_not_followed(tmp_path: Path, model: ir.Model) -> None:
    (tmp_path / "precious.onnx").write_bytes(b"precious")
    (tmp_path / "m.onnx").symlink_to("precious.onnx")
    fails(UsageError, "SAVE-EXISTS", lambda: save(model, tmp_path / "m.onnx"))
    save(model, tmp_path / "m.onnx", force=True)
    assert (tmp_path / "precious.onnx").read_bytes() == b"precious"
    assert not (tmp_path / "m.onnx").is_symlink()


# External weights


def test_weights_beside_the_model(tmp_path: Path, model: ir.Model) -> None:
    path = save(model, tmp_path / "m.onnx", external=True)
    name, data = files(tmp_path)
    assert name.startswith("m.")
    assert name.endswith(".data")
    assert len(name) == len("m.01234567.data")
    assert data == "m.onnx"
    again = load(path)
    assert fingerprint(again) == fingerprint(model)
    assert to_bytes(again) == to_bytes(model)
    feeds = {"x": np.ones((1, SIZE), np.float32)}
    sessions = [ort.InferenceSession(m, providers=["CPUExecutionProvider"]) for m in (str(path), to_bytes(model))]
    np.testing.assert_array_equal(*(session.run(None, feeds)[0] for session in sessions))


def test_external_stays_external_and_moves_along(tmp_path: Path, model: ir.Model) -> None:
    there = tmp_path / "there"
    there.mkdir()
    source = load(save(model, tmp_path / "m.onnx", external=True))
    save(source, there / "n.onnx")
    assert [name.split(".")[0] for name in files(there)] == ["n", "n"]
    for entry in tmp_path.glob("m.*"):
        entry.unlink()
    assert fingerprint(load(there / "n.onnx")) == fingerprint(model)


def test_saving_over_itself(tmp_path: Path, model: ir.Model) -> None:
    path = save(model, tmp_path / "m.onnx", external=True)
    before = content(tmp_path)
    save(load(path), path, force=True)
    assert content(tmp_path) == before


def test_old_weights_go_and_foreign_files_stay(tmp_path: Path, model: ir.Model, other: ir.Model) -> None:
    path = save(model, tmp_path / "m.onnx", external=True)
    (old,) = tmp_path.glob("m.*.data")
    (tmp_path / "m.data").write_bytes(b"not ours")
    (tmp_path / "x.01234567.data").write_bytes(b"of another model")
    save(other, path, force=True, external=True)
    assert not old.exists()
    assert {"m.data", "x.01234567.data"} <= set(files(tmp_path))


def test_weights_that_a_copy_of_the_model_names_stay(tmp_path: Path, model: ir.Model, other: ir.Model) -> None:
    path = save(model, tmp_path / "m.onnx", external=True)
    (tmp_path / "backup.bak").write_bytes(path.read_bytes())
    save(other, path, force=True, external=True)
    assert len(list(tmp_path.glob("m.*.data"))) == 2
    assert fingerprint(load(tmp_path / "backup.bak")) == fingerprint(model)


def test_from_external_to_inline_removes_the_weights(tmp_path: Path, model: ir.Model) -> None:
    path = save(model, tmp_path / "m.onnx", external=True)
    save(load(path), path, force=True, external=False)
    assert load(path).graph.initializers["w"].const_value.numpy().shape == (SIZE, SIZE)
    assert files(tmp_path) == ["m.onnx"]


def test_a_taken_name_gets_a_longer_one(tmp_path: Path, model: ir.Model) -> None:
    save(model, tmp_path / "m.onnx", external=True)
    (data,) = tmp_path.glob("m.*.data")
    honest = data.read_bytes()
    (tmp_path / "m.onnx").unlink()
    (tmp_path / "keeps.onnx").write_bytes(b"\x08" + data.name.encode())
    data.write_bytes(b"other content under the same name")
    path = save(model, tmp_path / "m.onnx", external=True)
    (longer,) = set(tmp_path.glob("m.*.data")) - {data}
    assert len(longer.name) == len("m.0123456789abcdef.data")
    assert longer.read_bytes() == honest
    assert fingerprint(load(path)) == fingerprint(model)


def test_a_shared_tensor_is_written_once(tmp_path: Path, model: ir.Model) -> None:
    graph = model.graph
    tensor = ir.tensor(np.ones((SIZE, SIZE), np.float32))
    for name in ("one", "two"):
        graph.register_initializer(ir.Value(name=name, const_value=tensor))
    save(model, tmp_path / "m.onnx", external=True)
    (data,) = tmp_path.glob("*.data")
    assert data.stat().st_size == 2 * tensor.nbytes
    assert fingerprint(load(tmp_path / "m.onnx")) == fingerprint(model)


def test_tiny_models_have_no_weights_file(tmp_path: Path) -> None:
    save(load(matmul(2)), tmp_path / "m.onnx", external=True)
    assert files(tmp_path) == ["m.onnx"]


@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph", "function"])
def test_external_tensors_in_every_place_survive(tmp_path: Path, place: str) -> None:
    from builders.io_models import external

    if place == "subgraph" and tuple(int(part) for part in ort.__version__.split(".")[:2]) < (1, 28):
        pytest.skip("before 1.28 onnxruntime cannot read external data of a subgraph")
    numbers = np.arange(1024, dtype=np.float32)
    (tmp_path / "w.bin").write_bytes(numbers.tobytes())
    proto = placements(external("t", [1024], location="w.bin"))[place]
    out = tmp_path / "out"
    out.mkdir()
    source = load(proto, folder=tmp_path)
    path = save(source, out / "m.onnx")
    assert fingerprint(load(path)) == fingerprint(source)
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {})[0], numbers)


def test_external_tensors_of_onnx_ir_are_taken_in(tmp_path: Path, model: ir.Model) -> None:
    path = save(model, tmp_path / "m.onnx", external=True)
    foreign = ir.load(path)
    assert fingerprint(foreign) == fingerprint(model)
    assert to_proto(foreign).graph.initializer[0].data_location == onnx.TensorProto.DEFAULT
    (tmp_path / "sub").mkdir()
    assert fingerprint(load(save(foreign, tmp_path / "sub" / "n.onnx"))) == fingerprint(model)


# Interrupted and failing writes

STEPS = ["os.fsync", "os.replace", "os.open", "os.link"]


@pytest.mark.parametrize("external", [False, True], ids=["inline", "external"])
@pytest.mark.parametrize(
    "interrupt", [KeyboardInterrupt(), OSError(errno.ENOSPC, "full"), OSError(errno.EIO, "bad disk")]
)
@pytest.mark.parametrize("step", STEPS[:3])
def test_an_interruption_at_any_step_changes_nothing(
    tmp_path: Path,
    model: ir.Model,
    other: ir.Model,
    step: str,
    interrupt: BaseException,
    external: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The n-th call of `step` fails, for every n up to the one after which the save goes through."""
    path = save(model, tmp_path / "m.onnx", external=external)
    before = content(tmp_path)
    name = step.split(".")[1]
    real = getattr(os, name)
    finished = failures = 0
    for failing in range(12):
        calls = iter(range(100))

        def sometimes(*args: object, _at: int = failing, _calls: object = calls, **options: object) -> object:
            if next(_calls) == _at:
                raise interrupt
            return real(*args, **options)

        monkeypatch.setattr(os, name, sometimes)
        try:
            save(other, path, force=True, external=external)
        except (KeyboardInterrupt, ResourceError):
            failures += 1
        else:
            finished += 1
        monkeypatch.setattr(os, name, real)
        now = content(tmp_path)
        if now != before:
            # Only a failure after the model was moved may leave the new state; never anything between.
            assert fingerprint(load(path)) == fingerprint(other)
            assert not list(tmp_path.glob(".*"))
            save(model, path, force=True, external=external)
            assert content(tmp_path) == before
    assert failures
    assert finished


@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_first_save_leaves_all_or_nothing(
    tmp_path: Path, model: ir.Model, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = step.split(".")[1]
    real = getattr(os, name)
    for failing in range(9):
        folder = tmp_path / str(failing)
        folder.mkdir()
        calls = iter(range(100))

        def sometimes(*args: object, _at: int = failing, _calls: object = calls, **options: object) -> object:
            if next(_calls) == _at:
                raise KeyboardInterrupt
            return real(*args, **options)

        monkeypatch.setattr(os, name, sometimes)
        with contextlib.suppress(KeyboardInterrupt):
            save(model, folder / "m.onnx", external=True)
        monkeypatch.setattr(os, name, real)
        assert len(files(folder)) in (0, 2)
        if files(folder):
            assert fingerprint(load(folder / "m.onnx")) == fingerprint(model)


def test_a_file_system_without_links(tmp_path: Path, model: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(os, "link", unsupported)
    save(model, tmp_path / "m.onnx")
    assert files(tmp_path) == ["m.onnx"]


def test_a_failing_second_move_takes_the_weights_back(
    tmp_path: Path, model: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.replace, iter(range(9))

    def second_fails(*args: object) -> None:
        if next(calls) == 1:
            raise OSError(errno.EACCES, "denied")
        real(*args)

    (tmp_path / "m.onnx").write_bytes(b"old")
    monkeypatch.setattr(os, "replace", second_fails)
    fails(ResourceError, "SAVE-NOT-WRITABLE", lambda: save(model, tmp_path / "m.onnx", external=True, force=True))
    assert content(tmp_path) == {"m.onnx": b"old"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_device_is_told_as_such() -> None:
    def write() -> None:
        with failing_as_resource(Path("/dev/full")), Path("/dev/full").open("wb", buffering=0) as file:
            file.write(b"x")

    assert "full" in fails(ResourceError, "SAVE-FULL", write).why


LIMITED = """
import resource, sys
from onnxcompress.errors import CompressError
from onnxcompress.model_io import load, save
model = load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    save(model, sys.argv[2], force=True, external=sys.argv[4] == "True")
except CompressError as error:
    print(error.code)
    sys.exit(error.exit_code)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs setrlimit")
@pytest.mark.parametrize(("external", "allowed"), [(False, 4000), (True, 9000), (True, 16300)])
def test_a_size_limit_leaves_the_old_output(
    tmp_path: Path, model: ir.Model, other: ir.Model, external: bool, allowed: int
) -> None:
    source = save(other, tmp_path / "source.onnx")
    out = tmp_path / "out"
    out.mkdir()
    path = save(model, out / "m.onnx", external=external)
    before = content(out)
    command = [sys.executable, "-c", LIMITED, str(source), str(path), str(allowed), str(external)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (6, "SAVE-FULL"), done.stderr
    assert content(out) == before


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder(tmp_path: Path, model: ir.Model) -> None:
    tmp_path.chmod(0o500)
    try:
        fails(ResourceError, "SAVE-NOT-WRITABLE", lambda: save(model, tmp_path / "m.onnx"))
    finally:
        tmp_path.chmod(0o700)


# Small things


def test_text_and_bytes(tmp_path: Path) -> None:
    path = write_text_atomic(tmp_path / "r.json", "é\n")
    assert path.read_bytes() == "é\n".encode()
    fails(UsageError, "SAVE-EXISTS", lambda: write_bytes_atomic(path, b""))
    write_bytes_atomic(path, b"new", force=True)
    assert content(tmp_path) == {"r.json": b"new"}


def test_a_stamp_has_no_time_and_survives(tmp_path: Path, model: ir.Model) -> None:
    before = fingerprint(model)
    stamp(model, recipe="[[pass]]", parent=before)
    first = to_bytes(model)
    stamp(model, recipe="[[pass]]", parent=before)
    assert to_bytes(model) == first
    properties = load(save(model, tmp_path / "m.onnx")).metadata_props
    assert properties["onnxcompress.parent"] == before
    assert properties["onnxcompress.recipe"] == "[[pass]]"
    assert properties["onnxcompress.version"]


def test_the_fingerprint_sees_every_change(model: ir.Model, other: ir.Model) -> None:
    assert fingerprint(model) == fingerprint(load(matmul(SIZE)))
    changed = load(matmul(SIZE))
    changed.graph.node(0).name = "renamed"
    typed = load(matmul(SIZE))
    typed.graph.initializers["w"].const_value = ir.tensor(
        typed.graph.initializers["w"].const_value.numpy().view(np.int32), name="w"
    )
    assert len({fingerprint(each) for each in (model, other, changed, typed)}) == 4


def test_bytes_do_not_depend_on_the_hash_seed(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    proto = matmul()
    for key in "zyxwabc":
        proto.metadata_props.add(key=key, value=key)
        proto.graph.node[0].metadata_props.add(key=key, value=key)
    path.write_bytes(proto.SerializeToString())
    script = (
        "import sys, hashlib; from onnxcompress.model_io import *\n"
        "m = load(sys.argv[1]); print(fingerprint(m), hashlib.sha256(to_bytes(m)).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", script, str(path)],
            capture_output=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("0", "1")
    }
    assert len(seen) == 1


def test_over_two_gigabytes_to_proto_names_save() -> None:
    model = load(matmul())
    huge = np.broadcast_to(np.float32(0), (1 << 15, 1 << 15))  # 4 GiB that take 4 bytes
    model.graph.initializers["w"].const_value = ir.Tensor(huge)
    error = fails(ResourceError, "MODEL-OVER-2GB", lambda: to_proto(model))
    assert "save(" in error.hint


def test_limits_may_be_tightened(tmp_path: Path, model: ir.Model) -> None:
    path = save(model, tmp_path / "m.onnx")
    assert load(path, limits=Limits(max_nodes=1))
