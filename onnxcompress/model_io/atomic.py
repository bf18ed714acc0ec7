"""Write a file whole or not at all.

A file is written under a temporary name in its own folder, flushed to the disk, and moved to its name in one step;
until then the old file stands untouched. Whatever interrupts us, a reader sees the old file or the new one. A temporary
file is locked while its writer lives, so the next save can tell a killed one's rest from a file in use and remove it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from onnxcompress.errors import ResourceError, UsageError

_FULL = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def write_text_atomic(path: str | os.PathLike[str], text: str, *, force: bool = False) -> Path:
    """Write `text` as UTF-8 with plain newlines; see `write_bytes_atomic`."""
    return write_bytes_atomic(path, text.encode(), force=force)


def write_bytes_atomic(path: str | os.PathLike[str], data: bytes, *, force: bool = False) -> Path:
    """Write `data` to `path`, whole or not at all.

    Args:
        path: Target file.
        data: Its new content.
        force: Replace an existing file.

    Returns:
        The absolute path.

    Raises:
        UsageError: Where the file exists and `force` is off, or the name is not one of a regular file.
        ResourceError: Where the folder is missing, not writable or full.
    """
    target = check_target(path, force=force)
    with failing_as_resource(target), temporary(target) as (file, temp):
        file.write(data)
        seal(file)
        with folder_lock(target.parent):
            publish(file, temp, target, force=force)
    return target


def check_target(path: str | os.PathLike[str], *, force: bool) -> Path:
    """The absolute path, once it is clear that a file may be put there.

    Raises:
        UsageError: SAVE-EXISTS, SAVE-NOT-A-FILE.
        ResourceError: SAVE-NO-FOLDER.
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute() would keep ".." in it
    what = f"cannot write {path}"
    if not target.parent.is_dir():
        raise ResourceError(
            what,
            why=f"there is no folder {target.parent}",
            hint="Make the folder first, or give another path.",
            code="SAVE-NO-FOLDER",
        )
    with failing_as_resource(target):
        mode = target.lstat().st_mode if os.path.lexists(target) else None
    if mode is not None and not (stat.S_ISREG(mode) or (stat.S_ISLNK(mode) and not target.is_dir())):
        kind = "a folder" if target.is_dir() else "a device, pipe or socket"
        raise UsageError(what, why=f"it is {kind}", hint="Give the name of a file.", code="SAVE-NOT-A-FILE")
    if mode is not None and not force:
        raise exists_error(target)
    return target


def exists_error(target: Path, flag: str = "-o") -> UsageError:
    """The error for a file that is not to be overwritten; `flag` names it on the command line."""
    return UsageError(
        f"cannot write {target}",
        why="the file exists",
        hint=f"Give another name with {flag}, or --force to replace it (force=True in Python).",
        code="SAVE-EXISTS",
    )


@contextlib.contextmanager
def failing_as_resource(target: Path) -> Generator[None]:
    """Turn what the system says about a disk or a permission into our own error."""
    try:
        yield
    except OSError as error:
        why, hint, code = _explain(error, target)
        hint = f"{hint} Nothing was changed."
        raise ResourceError(f"cannot write {target}", why=why, hint=hint, code=code) from error


def _explain(error: OSError, target: Path) -> tuple[str, str, str]:
    """Why, hint and code for a failed write."""
    if error.errno in _FULL:
        why = f"the disk, quota or size limit is full ({error.strerror})"
        return why, "Free some space, or write elsewhere.", "SAVE-FULL"
    if error.errno in _FORBIDDEN:
        why = f"the folder {target.parent} is not writable ({error.strerror})"
        return why, "Check its permissions, or write elsewhere.", "SAVE-NOT-WRITABLE"
    return f"the system says: {error.strerror or error}", "Write elsewhere.", "SAVE-FAILED"


@contextlib.contextmanager
def temporary(target: Path) -> Generator[tuple[BinaryIO, Path]]:
    """A new locked file beside `target`, removed on the way out unless it was moved."""
    temp = target.with_name(f".{target.name}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    with folder_lock(target.parent):
        sweep(target)
        descriptor = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
        try_lock(descriptor)
    file = os.fdopen(descriptor, "w+b")
    try:
        yield file, temp
    finally:
        # A failed write leaves bytes in the buffer that close() would try to write once more.
        with contextlib.suppress(OSError):
            file.close()
        with contextlib.suppress(FileNotFoundError):
            temp.unlink()


def seal(file: BinaryIO) -> None:
    """Flush the file to the disk itself."""
    file.flush()
    os.fsync(file.fileno())


def publish(file: BinaryIO, temp: Path, target: Path, *, force: bool) -> None:
    """Close a sealed file and move it to its name, under the folder's lock; without `force` it never replaces one.

    Raises:
        UsageError: SAVE-EXISTS, also where the file appeared a moment ago.
    """
    file.close()  # Windows moves no open file
    if force:
        with contextlib.suppress(OSError):
            temp.chmod(stat.S_IMODE(target.stat().st_mode))
        os.replace(temp, target)  # noqa: PTH105 - named as the one step that counts
    else:
        _move_if_free(temp, target)
    sync_folder(target.parent)


def _move_if_free(temp: Path, target: Path) -> None:
    """Unlike a rename, a link fails where the name is taken; not every file system has links."""
    if os.path.lexists(target):
        raise exists_error(target)
    try:
        os.link(temp, target)
    except FileExistsError as error:
        raise exists_error(target) from error
    except OSError:
        os.replace(temp, target)  # noqa: PTH105
    else:
        temp.unlink()


def is_published(temp: Path, target: Path) -> bool:
    """True where the temporary file has got its name, even if we were interrupted right behind that."""
    return not temp.exists() or (target.exists() and temp.samefile(target))


def sync_folder(folder: Path) -> None:
    """Flush the folder's own entries, where the system has that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems refuse to sync a folder; the file's content is safe all the same.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(target: Path) -> None:
    """Remove temporary files of `target` whose writer is gone; call it under the folder's lock."""
    prefix = f".{target.name}.tmp-"
    for entry in sorted(os.scandir(target.parent), key=lambda e: e.name):
        if entry.name.startswith(prefix) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError):
                _remove_if_free(Path(entry.path))


def _remove_if_free(path: Path) -> None:
    if os.name == "nt":
        path.unlink()  # Windows refuses while the writer has it open
        return
    descriptor = os.open(path, os.O_RDWR)
    try:
        if try_lock(descriptor):
            path.unlink()
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file for as long as it stays open; False where another holds it or locks are not to be had."""
    if os.name == "nt":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def folder_lock(folder: Path) -> Generator[bool]:
    """Keep two saves into one folder apart during their short steps.

    Yields:
        True where the lock was had; False on Windows and on file systems without locks.
    """
    if os.name == "nt":
        yield False
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)
