"""Compiling many kernels at once, in copies of the process: threads do not help, one at a time can compile."""

import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

from caffelite.kernels.engine import keeping, settings
from caffelite.kernels.engine.compiling import Compiled, Kernel, listening

#: What has to be compiled, and in which version.
Missing = tuple[Compiled[Any], Any]


def compile_missing(missing: Sequence[Missing]) -> None:
    """Compile kernels that are not kept, where that is faster on several cores than on one.

    A kernel takes up to a second, a routine a twentieth, a process about as long to start and to end: kernels come
    first. What a copy has compiled reaches this process through the folder of kept code.
    """
    if len(missing) < 3 or settings.compilers() == 1 or not keeping.can_keep(keeping.code_folder()):
        return
    missing = sorted(missing, key=lambda one: (not isinstance(one[0], Kernel), one[0].name))
    # Numba's compiler is imported once, not in each copy.
    import_module("caffelite.kernels.engine.private")
    # Whoever is free takes the number of the next one from the pipe.
    queue, fill = os.pipe()
    os.set_blocking(queue, False)
    os.write(fill, b"".join(number.to_bytes(2, "little") for number in range(len(missing))))
    children: list[int] = []
    try:
        for _ in range(min(settings.compilers(), len(missing)) - 1):
            with warnings.catch_warnings():
                # Python warns that threads are not copied: nothing is asked of them there.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if not child:
                _work_as_copy(queue, missing)
            children.append(child)
        _work(queue, missing)
    finally:
        # Where this process is to end before its time, the copies must not go on for longer than their kernel takes.
        _empty(queue)
        for child in children:
            os.waitpid(child, 0)
        os.close(queue)
        os.close(fill)


def _work(queue: int, missing: Sequence[Missing]) -> None:
    with suppress(BlockingIOError):
        while True:
            needed, version = missing[int.from_bytes(os.read(queue, 2), "little")]
            needed.address(version)


def _empty(queue: int) -> None:
    with suppress(BlockingIOError):
        while True:
            os.read(queue, 1 << 16)


def _work_as_copy(queue: int, missing: Sequence[Missing]) -> NoReturn:
    # What goes wrong here is told where it goes wrong again: in the process that needs the kernel.
    try:
        with listening(None):
            _work(queue, missing)
    finally:
        os._exit(0)
