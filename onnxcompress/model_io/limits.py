"""How much a model file may ask of the machine before it is refused."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Caps that ``load`` holds every model to.

    Attributes:
        max_proto_bytes: Largest .onnx file in bytes; protobuf itself cannot hold more than 2 GiB.
        max_nodes: Most nodes after every call of a local function is expanded.
        max_densified_bytes: Most bytes that the sparse initializers of one model may need when made dense.
        allow_hardlinks: Accept an external data file that has more than one name. Package managers and the
            Hugging Face cache link files; so could somebody who wants a foreign file read.
        allow_external_root: One more folder (with all below it) in which external data may lie after links are
            resolved, for layouts such as the Hugging Face cache, whose snapshots link to ``../../blobs``.
    """

    max_proto_bytes: int = 2**31 - 1
    max_nodes: int = 1_000_000
    max_densified_bytes: int = 1 << 30
    allow_hardlinks: bool = False
    allow_external_root: Path | None = None
