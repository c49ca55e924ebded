"""Where machine code is kept, one file a kernel and version, and how it comes back.

Numba's own cache cannot find a closure over compiled functions again in another process, and what it reads it unpickles
unchecked; so the files are named by a key of our own, and sealed: :mod:`.sealing`.
"""

import hashlib
import json
import os
import tempfile
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba

from caffelite.cache import cache_folder
from caffelite.kernels.engine import sealing

_numba: Any = numba.config


@cache
def code_folder() -> Path:
    """Return the folder of compiled kernels: one per state of the sources, numba version and processor."""
    digest = hashlib.sha256()
    kernels = Path(__file__).parent.parent
    for source in sorted(path for path in kernels.rglob("*.py") if kernels / "cuda" not in path.parents):
        digest.update(source.read_bytes())
    cpu = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    digest.update(f"{numba.__version__} {cpu} {os.environ.get('CAFFELITE_VECTOR')}".encode())
    return cache_folder() / "kernels" / digest.hexdigest()[:16]


def driver_folder() -> Path:
    """Return the folder of the functions that start kernels: below ``NUMBA_CACHE_DIR`` if that is set."""
    folder, chosen = code_folder(), _numba.CACHE_DIR
    return Path(chosen) / f"caffelite_{folder.name}" if chosen else folder


@cache
def can_keep(folder: Path) -> bool:
    """Whether compiled code can be kept in a folder, which is made; where it cannot, a warning says so, once.

    Parameters
    ----------
    folder : Path
        :func:`code_folder` or :func:`driver_folder`.
    """
    variable = "CAFFELITE_CACHE" if folder == code_folder() else "NUMBA_CACHE_DIR"
    try:
        sealing.make_folder(folder)
        reason = sealing.fault(folder)
        if reason is not None:
            warnings.warn(
                f"compiled kernels in {folder} are not used, because {reason}; each run compiles its own; "
                f"set {variable} to a folder that is yours alone",
                stacklevel=2,
            )
            return False
        tempfile.TemporaryFile(dir=folder).close()
        _sweep(folder)
    except OSError as error:
        warnings.warn(
            f"compiled kernels cannot be kept in {folder} ({error.strerror}), each run compiles them anew; "
            f"set {variable} to a folder that can be written",
            stacklevel=2,
        )
        return False
    return True


#: Seconds after which a file that is not finished is a killed process's: writing one takes milliseconds.
_ABANDONED = 3600


def _sweep(folder: Path) -> None:
    """Remove what killed processes have left half-written."""
    for path in folder.glob("*.code.*"):
        with suppress(OSError):  # another process was quicker
            if time.time() - path.stat().st_mtime > _ABANDONED:
                path.unlink()


#: Folders of which it has been said that they are full.
_told: set[Path] = set()


def code_file(key: str) -> Path:
    """Return where the machine code of a key is kept, if it is."""
    return code_folder() / f"{key}.code"


def load(path: Path) -> tuple[dict[str, Any], bytes] | None:
    """Return what was told of kept machine code, and the code; None if it is not kept whole."""
    content = sealing.read(path)
    if content is None:
        return None
    line, _, code = content.partition(b"\n")
    return json.loads(line), code


def keep(path: Path, head: dict[str, Any], code: bytes) -> None:
    """Write machine code for the next process; ``head`` is what :func:`load` tells of it.

    A full disk or a folder that cannot be written costs a compile next time, and a warning, once.
    """
    if not can_keep(path.parent):
        return
    content = json.dumps(head).encode() + b"\n" + code
    try:
        sealing.write(path, content)
    except OSError as error:
        if path.parent not in _told:
            _told.add(path.parent)
            warnings.warn(
                f"a compiled kernel of {len(content):,} bytes cannot be kept in {path.parent} ({error.strerror}); it "
                "and those that follow are compiled anew in each run",
                stacklevel=2,
            )
