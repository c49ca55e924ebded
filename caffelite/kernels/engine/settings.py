"""Everything caffelite asks of numba: threading layer, vector width, options; and how many threads and compilers."""

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numba

from caffelite.kernels.engine.thread_count import cores, thread_count

_numba: Any = numba.config

#: Options of every kernel. ``contract`` lets LLVM fuse a multiply and an add; ``reassoc`` lets it keep several
#: partial sums, which is what vectorises a reduction; ``nsz`` ignores the sign of zero. NaN and infinity stay.
FASTMATH = {"contract", "reassoc", "nsz", "arcp"}

#: How often a thread of libgomp that waits looks for work before it sleeps. Its own 300,000 keep a core busy that
#: another process could use (``tools/bench_spin.py``).
SPINS = 2000


@contextmanager
def _bounded_spinning() -> Iterator[None]:
    """Load libgomp inside, with waiting bounded by ``SPINS``; the user's own setting stays.

    The library reads its environment while it is loaded. Afterwards the variable is taken away again: the OpenMP of
    other packages, and of processes started from here, is no business of ours.
    """
    bound = "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if bound:
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    try:
        yield
    finally:
        if bound:
            del os.environ["GOMP_SPINCOUNT"]


def choose_threading_layer() -> str:
    """Choose the cheapest threading layer that can be loaded, before numba starts its threads.

    ``omp`` starts a parallel loop in microseconds, ``workqueue`` takes many times as long, which decides small nets.
    A layer the user chose through ``NUMBA_THREADING_LAYER`` is left alone.

    Returns
    -------
    str
        The name of the layer.
    """
    asked = os.environ.get("NUMBA_THREADING_LAYER")
    if asked in (None, "omp"):
        try:
            with _bounded_spinning():
                importlib.import_module("numba.np.ufunc.omppool")
        except ImportError:
            return str(_numba.THREADING_LAYER)
        _numba.THREADING_LAYER = "omp"
    return str(_numba.THREADING_LAYER)


THREADING_LAYER = choose_threading_layer()


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
