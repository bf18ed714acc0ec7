"""Reading and writing models: the only room that touches raw protobuf.

The algebra: ``load`` maps a file onto the IR so that nothing is lost in silence (kept, converted with a finding, or
refused by name), and ``save`` maps it back whole or not at all: ``save(load(x))`` is the same model as ``x``, and a
second trip yields the same bytes as the first. No module here imports onnx before a file has passed the cheap checks.
"""

from onnxcompress.model_io.atomic import write_bytes_atomic, write_text_atomic
from onnxcompress.model_io.fingerprint import fingerprint
from onnxcompress.model_io.limits import Limits
from onnxcompress.model_io.load import load, load_notes
from onnxcompress.model_io.precheck import precheck
from onnxcompress.model_io.proto import to_bytes, to_proto
from onnxcompress.model_io.save import save
from onnxcompress.model_io.stamp import stamp

__all__ = [
    "Limits",
    "fingerprint",
    "load",
    "load_notes",
    "precheck",
    "save",
    "stamp",
    "to_bytes",
    "to_proto",
    "write_bytes_atomic",
    "write_text_atomic",
]
