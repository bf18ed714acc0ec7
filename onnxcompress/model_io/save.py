"""Write a model, whole or not at all, with its weights inside or in one file beside it.

Weights that go into a file of their own get a name that is made from their content, ``<stem>.<sha8>.data``. They are
written and flushed first; the .onnx file that refers to them is moved to its name last, and only then is the old
weights file removed, where it was ours and no model beside it still names it. At every moment the .onnx file that is
there fits the weights that are there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from onnxcompress.errors import ResourceError
from onnxcompress.model_io.atomic import (
    check_target,
    failing_as_resource,
    folder_lock,
    is_published,
    publish,
    seal,
    temporary,
)
from onnxcompress.model_io.load import EXTERNAL
from onnxcompress.model_io.old_data import own_data_files, remove_unreferenced
from onnxcompress.model_io.proto import proto_bytes, serialize, to_bytes, weight_bytes, with_tensors
from onnxcompress.model_io.settle import bodies
from onnxcompress.model_io.tensors import chunks, is_text, iter_tensors, reference

if TYPE_CHECKING:
    import onnx_ir as ir

INLINE_BYTES = 1_800_000_000
SMALL_BYTES = 1024
_PAGE, _LINE = 4096, 64


def save(model: ir.Model, path: str | os.PathLike[str], *, force: bool = False, external: bool | None = None) -> Path:
    """Write `model` to `path`.

    Args:
        model: What to write; it is not changed.
        path: Target file, usually ``*.onnx``.
        force: Replace an existing file.
        external: True to put weights into ``<stem>.<sha8>.data`` beside the model, False to keep them inside. By
            default they go outside where they did in the input, or where the model is larger than 1.8 GB.

    Returns:
        The absolute path of the .onnx file.

    Raises:
        UsageError: Where the file exists and `force` is off.
        ResourceError: Where the folder is missing, not writable or full, or `external` is False above 2 GB.
    """
    if external is None:
        external = bool(model.meta.get(EXTERNAL)) or weight_bytes(model) > INLINE_BYTES
    target = check_target(path, force=force)
    with failing_as_resource(target):
        (_save_external if external else _save_inline)(model, target, force=force)
    return target


def _save_inline(model: ir.Model, target: Path, *, force: bool) -> None:
    with temporary(target) as (file, temp):
        file.write(to_bytes(model))
        seal(file)
        with folder_lock(target.parent) as locked:
            old = own_data_files(target, orphans=locked)
            publish(file, temp, target, force=force)
            remove_unreferenced(old, target.parent)


def _save_external(model: ir.Model, target: Path, *, force: bool) -> None:
    with temporary(target.with_suffix(".data")) as (weights, weights_temp):
        layout = _write_weights(model, weights)
        if not layout.slices:
            _save_inline(model, target, force=force)
            return
        seal(weights)
        with temporary(target) as (file, temp), folder_lock(target.parent) as locked:
            data = _data_path(target, layout.digest, weights_temp)
            file.write(proto_bytes(serialize(with_tensors(model, layout.reference_to(data.name)))))
            seal(file)
            old = own_data_files(target, orphans=locked)
            with _taken_back(data, temp, target):
                if not data.exists():
                    publish(weights, weights_temp, data, force=True)
                publish(file, temp, target, force=force)
            remove_unreferenced([path for path in old if path != data], target.parent)


@contextlib.contextmanager
def _taken_back(data: Path, temp: Path, target: Path) -> Generator[None]:
    """Remove weights that got their name here when the model that needs them then did not get its own.

    Weights that were there before stay. Once the model has its name they stay too, whatever fails after that.
    """
    there_before = data.exists()
    try:
        yield
    except BaseException:
        if not there_before and not is_published(temp, target):
            data.unlink(missing_ok=True)
        raise


@dataclass
class _Layout:
    """Where each tensor lies in the weights file.

    Attributes:
        slices: Offset and length by the identity of the tensor object; a shared tensor is written once.
        digest: sha256 of the whole file, hexadecimal.
    """

    slices: dict[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])
    digest: str = ""

    def reference_to(self, name: str) -> Callable[[ir.TensorProtocol], ir.TensorProtocol]:
        """The function that turns a tensor into a reference to its slice of the file `name`."""

        def refer(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
            place = self.slices.get(id(tensor))
            return tensor if place is None else reference(tensor, name, *place)

        return refer


def _write_weights(model: ir.Model, file: BinaryIO) -> _Layout:
    """Stream the large tensors into `file`, each at an aligned offset, one in memory at a time."""
    layout, digest, position = _Layout(), hashlib.sha256(), 0
    for tensor in _outside(model):
        if id(tensor) in layout.slices:
            continue
        padding = -position % (_PAGE if tensor.nbytes >= _PAGE else _LINE)
        length = 0
        for chunk in (bytes(padding), *([] if tensor.nbytes == 0 else chunks(tensor))):
            file.write(chunk)
            digest.update(chunk)
            length += len(chunk)
        layout.slices[id(tensor)] = (position + padding, length - padding)
        position += length
    layout.digest = digest.hexdigest()
    return layout


def _outside(model: ir.Model) -> list[ir.TensorProtocol]:
    """The tensors that leave the proto: large initializers; attributes too where they alone would burst it.

    ONNX Runtime reads external data of initializers in every graph, but not of every Constant node.
    """
    initializers = [v.const_value for body in bodies(model) for v in body.initializers.values()]
    chosen = [t for t in initializers if t is not None and _is_large(t)]
    taken = {id(tensor) for tensor in chosen}
    rest = [tensor for tensor in iter_tensors(model) if id(tensor) not in taken]
    if sum(tensor.nbytes for tensor in rest if not is_text(tensor)) > INLINE_BYTES:
        chosen += [tensor for tensor in rest if _is_large(tensor)]
    return chosen


def _is_large(tensor: ir.TensorProtocol) -> bool:
    return not is_text(tensor) and tensor.nbytes >= SMALL_BYTES


def _data_path(target: Path, digest: str, temp: Path) -> Path:
    """The name for weights of this content: the first that is free or already holds just that."""
    for length in (8, 16, 64):
        path = target.with_name(f"{target.stem}.{digest[:length]}.data")
        if not os.path.lexists(path) or (path.is_file() and _same_content(path, temp)):
            return path
    raise ResourceError(
        f"cannot write {target}",
        where=f"weights file of digest {digest}",
        why="that name is taken by a file of other content",
        hint="Remove that file, or write elsewhere.",
        code="SAVE-FAILED",
    )


def _same_content(one: Path, other: Path) -> bool:
    if one.is_symlink() or one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        while chunk := a.read(8 << 20):
            if chunk != b.read(len(chunk)):
                return False
    return True
