"""A training run on disk, so that one that was killed goes on where it was.

The folder holds ``checkpoint.pt`` (tensors and plain values alone: it is read without running code) and ``curve.csv``
with the loss, agreement and error of every measurement. Both are replaced in one move, so a kill
leaves the old or the new.
"""

from __future__ import annotations

import csv
import hashlib
import io
import pickle
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from onnxcompress.distill.course import Point
from onnxcompress.errors import ResourceError, UsageError

_VERSION = 1
_FILE = "checkpoint.pt"
_DAMAGE = (RuntimeError, OSError, EOFError, LookupError, TypeError, ValueError, AttributeError, pickle.UnpicklingError)


def fingerprint(
    tensors: Sequence[torch.Tensor], teacher: ir.Model, samples: Mapping[str, np.ndarray], options: object
) -> str:
    """What a run is, in 64 letters: the student's weights, the teacher's, some samples, and the options."""
    found = hashlib.sha256(repr(options).encode())
    for tensor in tensors:
        found.update(tensor.detach().cpu().numpy().tobytes())
    for name, value in sorted(teacher.graph.initializers.items()):
        found.update(name.encode())
        if value.const_value is not None:
            found.update(value.const_value.tobytes())
    for name, array in sorted(samples.items()):
        found.update(name.encode() + np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


@contextmanager
def named_when_stopped(folder: Path | None) -> Generator[None]:
    """Whoever presses Ctrl-C is told where the training so far lies, if it is kept anywhere."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if folder is not None and (folder / _FILE).exists():
            stop.add_note(f"the training so far is in {folder}: the same command goes on from there")
        raise


class Checkpoint:
    """Where one run is kept.

    Args:
        folder: Made where it is not there.
        work: What the run is: students, teachers, samples and options that differ make another run.
        writes: This process writes; all read.

    Raises:
        ResourceError: Where the folder cannot be made.
    """

    def __init__(self, folder: Path, work: str, *, writes: bool = True) -> None:
        self._folder, self._work, self._writes = folder, work, writes
        if writes:
            self._make_folder()

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last; None where there is none.

        Raises:
            UsageError: Where it belongs to another run, or cannot be read.
        """
        path = self._folder / _FILE
        if not path.exists():
            return None
        with self.reading():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            version, work, state = saved["version"], saved["work"], saved["state"]
        if (version, work) != (_VERSION, self._work):
            why = "it was made with another student, teacher, data, seed, option or version"
            hint = "Repeat the first command as it was, or give --resume another folder."
            raise UsageError("cannot resume", where=str(path), why=why, hint=hint, code="USAGE-CHECKPOINT")
        with self.reading():
            sound = state["course"]["training"]["steps"] >= 0 and 0 < state["rate"] < np.inf
        if not sound:
            raise self._damaged("its step or its rate is none")
        return state

    @contextmanager
    def reading(self) -> Generator[None]:
        """The time in which what was saved is taken up again.

        Raises:
            UsageError: Where it lacks something, or does not fit.
        """
        try:
            yield
        except _DAMAGE as fault:
            raise self._damaged(f"{type(fault).__name__} while reading it") from fault

    def _damaged(self, why: str) -> UsageError:
        hint, where = (
            "Give --resume another folder, or delete that one and start again.",
            self._folder / _FILE,
        )
        return UsageError("cannot resume", where=str(where), why=why, hint=hint, code="USAGE-CHECKPOINT")

    def save(self, state: dict[str, Any], curve: Sequence[Point]) -> None:
        """Replace what was saved.

        Raises:
            ResourceError: Where the disk refuses.
        """
        if not self._writes:
            return
        packed, text = io.BytesIO(), io.StringIO()
        torch.save({"version": _VERSION, "work": self._work, "state": state}, packed)
        csv.writer(text, lineterminator="\n").writerows([("step", "loss", "agreement", "error"), *curve])
        self._replace(_FILE, packed.getvalue())
        self._replace("curve.csv", text.getvalue().encode())

    def _make_folder(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise self._refused(fault) from fault

    def _replace(self, name: str, content: bytes) -> None:
        part = self._folder / f"{name}.part"
        try:
            part.write_bytes(content)
            part.replace(self._folder / name)
        except OSError as fault:
            raise self._refused(fault) from fault

    def _refused(self, fault: OSError) -> ResourceError:
        why, hint = fault.strerror or str(fault), "Give --resume a folder that can be written."
        where = str(self._folder)
        return ResourceError("cannot keep the training run", where=where, why=why, hint=hint, code="OUTPUT-CHECKPOINT")
