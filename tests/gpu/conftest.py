"""Tests named ``test_gpu_*`` run on a GPU, or in numba's simulator of one.

The simulator is on for a whole process or not at all (NUMBA_ENABLE_CUDASIM=1), so ``test_in_simulator.py`` runs them in
a process of its own; where there is a GPU, they run on that as well.
"""

from collections.abc import Iterator

import pytest

from caffelite.errors import GpuError
from caffelite.kernels.cuda import geometry
from caffelite.kernels.cuda.device import count
from caffelite.kernels.cuda.simulator import SIMULATED


def _is_usable() -> bool:
    try:
        return count() > 0
    except GpuError:
        return False


collect_ignore_glob = [] if _is_usable() else ["test_gpu_*.py"]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the simulator a thread of a block is a thread of the machine."""
    if SIMULATED:
        monkeypatch.setattr(geometry, "THREADS", 16)
    yield
