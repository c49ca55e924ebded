"""The benchmark of BatchNorm on a GPU, where there is none."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from caffelite.errors import GpuError
from caffelite.kernels.cuda.device import count

TOOL = Path(__file__).parents[2] / "tools" / "bench_cuda_batchnorm.py"


def test_there_are_20_shapes():
    spec = importlib.util.spec_from_file_location("bench_cuda_batchnorm", TOOL)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    assert len(set(bench.SHAPES)) == len(bench.SHAPES) == 20


def test_it_says_that_there_is_no_gpu():
    try:
        count()
        pytest.skip("there is a GPU")
    except GpuError as error:
        run = subprocess.run([sys.executable, TOOL], capture_output=True, text=True)
        assert run.returncode == 1
        assert run.stderr == f"There is no GPU to measure: {error}.\n"
