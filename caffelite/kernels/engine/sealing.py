"""Files that will be run as code: taken only from this user or the system's, and only as they were written.

Each ends with a keyed digest of its name and content. The key lies beside them, readable for whoever may read the
folder; who could change a file could change the folder, and then neither is taken.

On Windows a folder has no owner that Python could ask for, and the digest alone is checked: what lies in a user's own
profile nobody else can write there, administrators aside.
"""

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

_KEY, _LENGTH = "key", 32
#: The system's own user: what an image was filled with, say.
_ROOT = 0
#: Neither a link nor a pipe that nobody writes to is followed or waited for.
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def fault(folder: Path) -> str | None:
    """Return why nothing in a folder may be run, in words; None if it may.

    Raises
    ------
    OSError
        There is no such folder, or it cannot be looked at.
    """
    return _fault(folder.stat())


def _fault(status: os.stat_result) -> str | None:
    if os.name != "posix":
        return None
    if status.st_uid not in (_ROOT, os.geteuid()):
        return f"it belongs to another user (uid {status.st_uid})"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"others may write to it (mode {stat.S_IMODE(status.st_mode):o})"
    return None


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for its owner alone."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(0o700, exist_ok=True)


def read(path: Path) -> bytes | None:
    """Return what :func:`write` wrote, or None: it is not there, damaged, or somebody else's."""
    key = _key(path.parent)
    content = _checked(path) if key is not None else None
    if key is None or content is None:
        return None
    body, digest = content[:-_LENGTH], content[-_LENGTH:]
    return body if hmac.compare_digest(digest, _digest(key, path.name, body)) else None


def write(path: Path, body: bytes) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    OSError
        The disk is full, or the folder cannot be written.
    """
    key = _key(path.parent) or _make_key(path.parent)
    # Readable for those who may read the folder: an image may be filled by one user for another.
    _write(path, body + _digest(key, path.name, body), 0o644, os.replace)


def _digest(key: bytes, name: str, body: bytes) -> bytes:
    digest = hashlib.blake2b(name.encode() + b"\0", key=key, digest_size=_LENGTH)
    digest.update(body)
    return digest.digest()


def _checked(path: Path) -> bytes | None:
    """Return the content of a plain file that nobody else can have written."""
    try:
        handle = os.open(path, _READ)
    except OSError:
        return None
    with open(handle, "rb") as stream:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or _fault(status):
            return None
        try:
            return stream.read()
        except OSError:
            return None


_keys: dict[Path, bytes] = {}


def _key(folder: Path) -> bytes | None:
    """Return the key of a folder; None if it has none, or may not be trusted."""
    if folder not in _keys:
        with suppress(OSError):
            content = None if fault(folder) else _checked(folder / _KEY)
            if content is not None and len(content) == _LENGTH:
                _keys[folder] = content
    return _keys.get(folder)


def _make_key(folder: Path) -> bytes:
    """Make the key of a folder; where another process is faster, its key is the one."""
    if reason := fault(folder):
        raise PermissionError(reason)
    for put in (os.link, os.replace):  # a link does not take the place of what is there; a damaged key has to go
        with suppress(OSError, NotImplementedError):
            _write(folder / _KEY, secrets.token_bytes(_LENGTH), 0o600, put)
        if key := _key(folder):
            return key
    raise PermissionError(f"{folder / _KEY} cannot be written")


def _write(path: Path, content: bytes, mode: int, put: Callable[[Path, Path], None]) -> None:
    temporary = path.with_name(f"{path.name}.{uuid4().hex}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with open(handle, "wb") as stream:
            stream.write(content)
        put(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
