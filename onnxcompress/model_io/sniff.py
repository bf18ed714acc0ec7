"""Tell from its first bytes what a file is that is not an ONNX model."""

from __future__ import annotations

from pathlib import Path

_HEAD_BYTES = 512

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x93NUMPY", "a NumPy array (.npy)"),
    (0, b"\x89HDF\r\n", "an HDF5 file (a Keras .h5 model, perhaps)"),
    (4, b"TFL3", "a TensorFlow Lite model (.tflite)"),
    (4, b"ORTM", "a model in ONNX Runtime's own format (.ort)"),
    (0, b"ptrt", "a TensorRT engine"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"BZh", "a bzip2 archive"),
    (0, b"\xfd7zXZ", "an xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x7fELF", "a program or library (ELF)"),
    (0, b"MZ", "a Windows program or library"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x89PNG", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"GGUF", "a GGUF model"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file that it stands for"),
)

_HINTS: tuple[tuple[str, str], ...] = (
    ("Git LFS", "Run `git lfs pull` in that repository, then try again."),
    ("PyTorch", "Export it first: torch.onnx.export(module, inputs, 'model.onnx')."),
    ("pickle", "Export the object that it holds to ONNX with the framework that wrote it."),
    ("Keras", "Convert it first, e.g. with tf2onnx."),
    ("TensorFlow Lite", "Convert it first, e.g. with `python -m tf2onnx.convert --tflite`."),
    ("own format", "Give the .onnx file that it was made from."),
    ("TensorRT", "Give the .onnx file that the engine was built from."),
    ("archive", "Unpack it and give the .onnx file inside."),
    ("text form", "Parse it with onnx.parser.parse_model and save the result as binary ONNX."),
)


def sniff(path: Path) -> str:
    """What the file seems to be, e.g. ``a zip archive``; empty where nothing but ONNX is likely.

    Args:
        path: An existing regular file.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for offset, magic, name in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return name
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "a Python pickle (an old PyTorch .pt, perhaps)"
    if head[8:10] == b'{"':
        return "a safetensors file: weights without a graph"
    return _kind_of_text(head)


def conversion_hint(kind: str) -> str:
    """What to do with a file of that kind, as a sentence."""
    return next((hint for key, hint in _HINTS if key in kind), "Give an ONNX model in binary form (.onnx).")


def _kind_of_zip(path: Path) -> str:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
        return "a damaged zip archive"
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch file (.pt, .pth)"
    if names and all(name.endswith(".npy") for name in names):
        return "NumPy arrays (.npz)"
    return "a zip archive"


def _kind_of_text(head: bytes) -> str:
    printable = sum(32 <= byte < 127 or byte in (9, 10, 13) for byte in head)
    if not head or printable < len(head):
        return ""
    start = head.lstrip()
    if start.startswith((b"<?xml", b"<net", b"<!DOCTYPE", b"<html")):
        return "an XML or HTML page"
    if start.startswith((b"<ir_version", b"<\n", b"ir_version", b"< ir_version")):
        return "a model in text form"
    return "JSON text" if start.startswith((b"{", b"[")) else "plain text"
