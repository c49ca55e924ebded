"""The benchmark of BatchNorm on a GPU, where there is none."""

import subprocess
import sys

import bench_cuda_batchnorm as bench
import pytest

from caffelite.errors import GpuError
from caffelite.kernels.cuda.device import count


def test_there_are_20_shapes():
    assert len(set(bench.SHAPES)) == len(bench.SHAPES) == 20


def test_it_says_that_there_is_no_gpu():
    try:
        count()
        pytest.skip("there is a GPU")
    except GpuError as error:
        run = subprocess.run([sys.executable, bench.__file__], capture_output=True, text=True)
        assert run.returncode == 1
        assert run.stderr == f"There is no GPU to measure: {error}.\n"
