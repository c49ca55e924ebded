"""Where machine code is kept, one file a kernel and version, and how it comes back.

Numba's own cache cannot find a closure over compiled functions again in another process; so the files are named by a
key of our own, and written by rename.
"""

import hashlib
import json
import os
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import llvmlite.binding as llvm
import numba

from caffelite.cache import cache_folder
from caffelite.kernels.engine import private


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


@cache
def can_keep(folder: Path) -> bool:
    """Whether compiled code can be kept in a folder, which is made; where it cannot, a warning says so, once.

    Parameters
    ----------
    folder : Path
        :func:`code_folder`, or the one that the user has given numba.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        variable = "CAFFELITE_CACHE" if folder == code_folder() else "NUMBA_CACHE_DIR"
        warnings.warn(
            f"compiled kernels cannot be kept in {folder} ({error.strerror}), each run compiles them anew; "
            f"set {variable} to a folder that can be written",
            stacklevel=2,
        )
        return False
    return True


def code_file(key: str) -> Path:
    """Return where the machine code of a key is kept, if it is."""
    return code_folder() / f"{key}.code"


def load(key: str, symbol: str) -> tuple[int, Any] | None:
    """Return the address of an entry and the library it lives in, which has to be held; None if it is not kept."""
    try:
        content = code_file(key).read_bytes()
    except OSError:
        return None
    head, _, body = content.partition(b"\n")
    try:
        facts = json.loads(head)
        if len(body) != facts["size"]:
            return None
    except (ValueError, KeyError, TypeError):
        return None  # cut off, or something else: it is compiled and written anew
    library = private.unserialized(facts["library"], body[: facts["code"]], body[facts["code"] :])
    return library.get_pointer_to_function(symbol), library


def keep(key: str, kernel: str, library: Any) -> None:
    """Write a library for the next process; ``kernel`` is for whoever looks into the file.

    A full disk or a folder that cannot be written costs a compile next time, nothing else.
    """
    path = code_file(key)
    if not can_keep(path.parent):
        return
    name, code, bitcode = private.serialized(library)
    head = json.dumps({"kernel": kernel, "library": name, "code": len(code), "size": len(code) + len(bitcode)})
    try:
        # Not one of tempfile's, which only their owner can read: an image may be filled by one user for another.
        temporary = path.with_name(f"{path.name}.{uuid4().hex}")
        temporary.write_bytes(head.encode() + b"\n" + code + bitcode)
        os.replace(temporary, path)
    except OSError:
        pass
