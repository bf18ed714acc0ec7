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
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onnxcompress import model_io
from onnxcompress.distill.batches import labels_in_parts
from onnxcompress.distill.course import Point
from onnxcompress.distill.distributed import World
from onnxcompress.distill.job import Job
from onnxcompress.errors import ResourceError, UsageError

_VERSION = 2
_FILE = "checkpoint.pt"
_DAMAGE = (RuntimeError, OSError, EOFError, LookupError, TypeError, ValueError, AttributeError, pickle.UnpicklingError)


def fingerprint(job: Job, processes: int) -> str:
    """What a run is, in 64 letters: both models, samples with labels, options, and the files that these name."""
    options = (replace(job.settings, resume=None), job.scope, processes)
    found = hashlib.sha256(repr(options).encode())
    for model in (job.student, job.teacher):
        found.update(model_io.fingerprint(model).encode())
    for source in (job.data, *([job.held_out] if job.held_out is not None else [])):
        found.update(source.fingerprint().encode())
        for _, labels in labels_in_parts(source):
            found.update(np.ascontiguousarray(labels).tobytes())
    for path in job.settings.ops:
        found.update(Path(path).read_bytes())
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
        processes: Those that train together: the first writes, all read.

    Raises:
        ResourceError: Where the folder cannot be made.
    """

    def __init__(self, folder: Path, work: str, processes: World | None = None) -> None:
        self._folder, self._work, self._world = folder, work, processes or World()
        if self._world.rank == 0:
            self._make_folder()

    def load(self) -> dict[str, Any] | None:
        """The state that was saved last; None where there is none. The first process saves only after all have looked.

        Raises:
            UsageError: Where it belongs to another run, cannot be read, or is not what the other processes see.
        """
        state = self._read()
        if self._world.all_equal(-1 if state is None else int(state["course"]["training"]["steps"])):
            return state
        why = "the processes find different states in it: they do not share that folder"
        raise self._refused_state(why, "Give --resume a folder that all machines see under that name.")

    def _read(self) -> dict[str, Any] | None:
        path = self._folder / _FILE
        if not path.exists():
            return None
        with self.reading():
            saved = torch.load(path, map_location="cpu", weights_only=True)
            version, work, state = saved["version"], saved["work"], saved["state"]
        if (version, work) != (_VERSION, self._work):
            why = "it was made with another student, teacher, data, seed, option or version"
            raise self._refused_state(why, "Repeat the first command as it was, or give --resume another folder.")
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
        return self._refused_state(why, "Give --resume another folder, or delete that one and start again.")

    def _refused_state(self, why: str, hint: str) -> UsageError:
        where = str(self._folder / _FILE)
        return UsageError("cannot resume", where=where, why=why, hint=hint, code="USAGE-CHECKPOINT")

    def save(self, state: dict[str, Any], curve: Sequence[Point]) -> None:
        """Replace what was saved.

        Raises:
            ResourceError: Where the disk refuses.
        """
        if self._world.rank:
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
