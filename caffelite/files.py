"""Files and folders that are there whole or not at all: after an error, after a kill, after a power cut.

What is being made lies in a scratch folder beside its target. It gets its name by a rename, when all of it has reached
the disk, and the rename has reached the disk when the call returns. A run that was killed leaves its scratch folder;
the next one that writes to the same place removes it.
"""

import errno
import os
import platform
import re
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from secrets import token_hex
from time import time

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, so nothing of another run is removed
    fcntl = None  # type: ignore[assignment]

_SCRATCH = re.compile(r"\..*\.(?P<host>[0-9a-f]{8})-[0-9a-f]{8}\.unfinished", re.DOTALL)
#: In each scratch folder: locked as long as the process lives that made it.
_LOCK = "lock"
#: A name has room for so much of the target's: file systems take 255 bytes.
_NAME = 40
#: Locks of other machines may be unseen here; what nobody has touched for a day is nobody's.
_ABANDONED_SECONDS = 24 * 3600.0
#: Errors of a disk, a quota and a limit that are full.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Give the path of a file to make; at the end it takes the place of ``path``, on an error it is removed.

    The folder is made if it is missing.

    Raises
    ------
    OSError
        It cannot be written. The error names ``path``; where the disk is full, it tells how much had been written.
        A device or a pipe is refused, a link to one too: a file would take its place.
    """
    target = Path(path)
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise OSError(errno.EINVAL, "it is a device or a pipe, and a file would take its place", str(target))
    try:
        with scratch_folder(target.parent, target.name) as scratch:
            made = scratch / target.name
            try:
                yield made
                replace(made, target)
            except OSError as error:
                if error.errno in _FULL:
                    error.strerror = written_until_full(error, made)
                raise
    except OSError as error:
        # What the caller read while it wrote has a name of its own.
        if error.errno is not None and (error.filename is None or in_scratch(error.filename)):
            raise OSError(error.errno, error.strerror, str(target)) from None
        raise


def in_scratch(path: str | Path) -> bool:
    """Whether a path leads through a scratch folder."""
    return any(_SCRATCH.fullmatch(part) for part in Path(path).parts)


def written_until_full(error: OSError, made: Path) -> str:
    """Return the system's words for a full disk with how much of a file or folder had been written by then."""
    files = [made, *(made.rglob("*") if made.is_dir() else ())]
    size = sum(file.stat().st_size for file in files if file.is_file())
    return f"{error.strerror} after {_megabytes(size)}; {_megabytes(shutil.disk_usage(made.parent).free)} are free"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB" if size >= 1e6 else f"{size:,} bytes"


@contextmanager
def scratch_folder(folder: Path, name: str) -> Iterator[Path]:
    """Make a folder for what is unfinished, and remove it at the end with all that is still in it.

    Parameters
    ----------
    folder : Path
        Where it is made; this is made too if it is missing, and what killed runs left in it is removed.
    name : str
        What it is for.
    """
    _make_folder(folder)
    _sweep(folder.absolute())
    scratch, lock = _scratch_name(folder, name), None
    try:  # from here on: a signal may end the command as soon as there is a folder
        while (lock := _claim(scratch)) is None:
            scratch = _scratch_name(folder, name)
        yield scratch
    finally:
        if lock is not None:
            os.close(lock)
        _remove(scratch)


def replace(made: Path, target: Path) -> None:
    """Put a finished file or folder in the place of another; when it returns, all of it has reached the disk.

    A folder cannot take the place of one that has something in it: that one is moved out of the way first, to a name
    beside ``made``, which should be in a :func:`scratch_folder`.
    """
    for part in [*made.rglob("*"), made]:
        _sync(part)
    if made.is_dir() and target.is_dir() and not target.is_symlink():
        os.replace(target, made.with_name(f"{made.name}.replaced"))
    os.replace(made, target)
    _sync(target.parent)


def _make_folder(folder: Path) -> None:
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in missing:
        _sync(one.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, have reached the disk."""
    if os.name == "nt":
        if path.is_dir():  # has no such call there
            return
        handle = os.open(path, os.O_RDWR)
    else:
        handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems do not know it of folders.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(handle)


# Scratch folders: each has a lock, which the system lets go of when the process ends, in whichever way.


def _host() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _scratch_name(folder: Path, name: str) -> Path:
    return folder / f".{name[:_NAME]}.{_host()}-{token_hex(4)}.unfinished"


def _claim(scratch: Path) -> int | None:
    """Make a scratch folder; return the handle of its lock, or None where a sweep took it for one that was left."""
    scratch.mkdir(mode=0o700)
    with suppress(FileNotFoundError):
        lock = os.open(scratch / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        if _locked(lock) is not False and (scratch / _LOCK).exists():
            return lock
        os.close(lock)
    return None


def _locked(handle: int) -> bool | None:
    """Lock a file; false where another process has it, None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks
        return None
    return True


@cache
def _sweep(folder: Path) -> None:
    """Remove what killed runs left in a folder, once a process; what may be a living run's stays."""
    if fcntl is None:
        return
    with suppress(OSError):  # it is not our business then
        for entry in list(os.scandir(folder)):
            name = _SCRATCH.fullmatch(entry.name)
            if name is None or not entry.is_dir(follow_symlinks=False):
                continue
            status = entry.stat(follow_symlinks=False)
            here = name["host"] == _host()
            # Of another user's it cannot be told what is there by the time when it is removed.
            if status.st_uid == os.getuid() and (here or status.st_mtime < time() - _ABANDONED_SECONDS):
                _remove_abandoned(Path(entry.path))


def _remove_abandoned(scratch: Path) -> None:
    try:
        lock = os.open(scratch / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        # Killed before it had one, or while it was removed: it is empty then. If somebody is about to make one,
        # _claim sees that the folder has gone.
        with suppress(OSError):
            scratch.rmdir()
        return
    try:
        if _locked(lock):
            _remove(scratch)
    finally:
        os.close(lock)


def _remove(scratch: Path) -> None:
    """Remove a scratch folder, its lock last: whoever is killed here leaves one that can still be told."""
    with suppress(OSError):  # what cannot be removed must not hide what went wrong before
        for part in sorted(scratch.iterdir(), key=lambda part: part.name == _LOCK):
            if part.is_dir() and not part.is_symlink():
                shutil.rmtree(part)
            else:
                part.unlink()
        scratch.rmdir()
