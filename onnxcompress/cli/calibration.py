"""Flags of the commands that calibrate: who counts, and where what was counted is kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from onnxcompress.cli.options import Group, flag


@dataclass(frozen=True)
class CalibrationFlags(Group):
    """How statistics of tensors are gathered and kept."""

    panel: ClassVar[str] = "Calibration"
    workers: int | None = flag(None, "Processes that count; the result does not depend on it.", metavar="N")
    executor: str | None = flag(None, "A Dask scheduler whose workers count.", metavar="dask://HOST:PORT")
    cache: str | None = flag(None, "Folder for histograms; the user's cache folder by default.", metavar="DIR|off")
    strict: bool = flag(False, "Refuse NaN and infinity inside the model; else they are told and left out.", "--strict")

    def folder(self) -> Path | None:
        """Where histograms are kept; None for nowhere."""
        from onnxcompress.environment import cache_folder

        return None if self.cache == "off" else Path(self.cache) if self.cache else cache_folder()
