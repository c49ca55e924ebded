"""Runs the tests for a GPU in numba's simulator, which has to be switched on before numba is imported."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from caffelite.kernels.cuda.simulator import SIMULATED


@pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="the simulator is part of numba-cuda")
@pytest.mark.skipif(SIMULATED, reason="this is the simulator")
def test_what_is_for_a_gpu_runs_in_the_simulator() -> None:
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *sorted(here.glob("test_gpu_*.py"))],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        cwd=here.parent.parent,
    )
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert " passed" in run.stdout
