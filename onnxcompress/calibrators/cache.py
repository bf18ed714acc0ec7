"""Histograms in a folder: one file a model and its samples, and one a finished shard until all are done.

Names are digests, files are readable by their owner alone, nothing in them tells a sample or its name. A file appears
whole or not at all. What cannot be read, or is no such file, is left aside with a note: a cache never stops a run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from onnxcompress.calibrators.float_histogram import FloatHistogram
from onnxcompress.calibrators.states import decode, encode

logger = logging.getLogger(__name__)

LIMIT_BYTES = 1 << 30
_SUFFIX, _PART = ".histograms", ".part"


class Cache:
    """A folder of histograms.

    Args:
        folder: Made where it is missing, for its owner alone.
        limit_bytes: Above this the files that were not used for longest are removed.
    """

    def __init__(self, folder: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._folder, self._limit = folder, limit_bytes

    def load(self, key: str) -> dict[str, FloatHistogram]:
        """What is kept under `key`; nothing where that is nothing, or not to be believed."""
        return self._read(self._folder / f"{key}{_SUFFIX}")

    def load_part(self, key: str, start: int) -> dict[str, FloatHistogram]:
        """What a run that was cut short had finished of the shard that begins at sample `start`."""
        return self._read(self._folder / f"{key}.{start}{_PART}")

    def save(self, key: str, found: Mapping[str, FloatHistogram]) -> None:
        """Keep `found` under `key` in place of what was there, and drop the shards that it is the sum of."""
        self._write(self._folder / f"{key}{_SUFFIX}", encode(found))
        for part in self._folder.glob(f"{key}.*{_PART}"):
            part.unlink(missing_ok=True)
        self._prune(keep=f"{key}{_SUFFIX}")

    def save_part(self, key: str, start: int, found: Mapping[str, FloatHistogram]) -> None:
        """Keep one finished shard."""
        self._write(self._folder / f"{key}.{start}{_PART}", encode(found))

    def _read(self, path: Path) -> dict[str, FloatHistogram]:
        try:
            allowed = not path.is_symlink() and path.stat().st_size <= self._limit
            found = decode(path.read_bytes() if allowed else b"")
            os.utime(path)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as fault:
            logger.warning("the calibration cache %s was left aside: %s", path.name, fault)
            return {}
        return found

    def _write(self, path: Path, data: bytes) -> None:
        temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            temporary.replace(path)
        except OSError as fault:
            with contextlib.suppress(OSError):
                temporary.unlink()
            logger.warning("the calibration cache could not be written: %s", fault.strerror)

    def _prune(self, keep: str) -> None:
        """Remove the oldest files above the limit, `keep` last."""
        try:
            files = [p for p in self._folder.iterdir() if p.suffix in (_SUFFIX, _PART, ".tmp")]
            files.sort(key=lambda p: (p.name == keep, p.stat().st_mtime_ns, p.name), reverse=True)
            total = 0
            for path in files:
                total += path.stat().st_size
                if total > self._limit and path.name != keep:
                    path.unlink(missing_ok=True)
        except OSError as fault:
            logger.warning("the calibration cache could not be pruned: %s", fault.strerror)
