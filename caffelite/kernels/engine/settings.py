"""What kernels are compiled and run with: vector width, the compiler's options, how many threads, and how they wait."""

import os
import sys
from functools import cache

import llvmlite.binding as llvm

from caffelite.kernels.engine.thread_count import cores, thread_count

#: Options of every kernel. ``contract`` lets LLVM fuse a multiply and an add; ``reassoc`` lets it keep several
#: partial sums, which is what vectorises a reduction; ``nsz`` ignores the sign of zero. NaN and infinity stay.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

#: How often a thread that waits looks for work before it gives way to others on its core, and for how many nanoseconds
#: it gives way before it sleeps (``tools/bench_waiting.py``).
_SPINS, _YIELDS = 2000, 200_000


def waiting() -> tuple[int, int]:
    """Return how often a waiting thread looks before it gives way, and for how many nanoseconds before it sleeps.

    ``OMP_WAIT_POLICY`` is heard although no OpenMP is used: ``passive`` threads sleep at once, ``active`` ones stay
    awake for a tenth of a second.
    """
    policy = os.environ.get("OMP_WAIT_POLICY", "").strip().lower()
    return {"passive": (0, 0), "active": (_SPINS, 100_000_000)}.get(policy, (_SPINS, _YIELDS))


@cache
def vector_width() -> int:
    """Return the number of float32 values in a vector register of this machine: 16, 8 or 4; 0 forces plain loops.

    ``CAFFELITE_VECTOR`` overrides the detection (``0`` for the plain path, which needs no vector instruction).
    """
    asked = os.environ.get("CAFFELITE_VECTOR")
    if asked is not None:
        return int(asked)
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    if features.get("avx2") and features.get("fma"):
        return 8
    return 4


@cache
def vector_products() -> int:
    """Return how many vectors the processor multiplies and adds a cycle: Zen 4 takes two turns for vectors of 16."""
    return 1 if vector_width() == 16 and llvm.get_host_cpu_name() == "znver4" else 2


def threads() -> int:
    """Return the number of threads a kernel is spread over."""
    return thread_count().number


def compilers() -> int:
    """Return in how many processes kernels are compiled: one a core, where a process can be copied safely."""
    if not sys.platform.startswith("linux"):
        return 1
    return cores().number
