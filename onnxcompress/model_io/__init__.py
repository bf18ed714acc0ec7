"""Reading and writing models: the only room that touches raw protobuf."""

from onnxcompress.model_io.load import load
from onnxcompress.model_io.save import fingerprint, save, to_bytes, to_proto

__all__ = ["fingerprint", "load", "save", "to_bytes", "to_proto"]
