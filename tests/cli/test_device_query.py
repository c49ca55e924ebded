"""``caffelite device_query`` and ``--gpu``, where there is no GPU."""

import json
import subprocess
import sys

import pytest

from caffelite.errors import GpuError
from caffelite.kernels.cuda.device import count
from caffelite.net import machine


def _there_is_one() -> bool:
    try:
        return count() > 0
    except GpuError:
        return False


no_gpu = pytest.mark.skipif(_there_is_one(), reason="there is a GPU; tests/gpu uses it")


@no_gpu
def test_it_says_why_none_is_used(caffelite):
    code, out, _ = caffelite("device_query")
    assert code == 0
    gpu, cpu = out.splitlines()
    assert gpu.startswith("No GPU is used: ") and gpu.endswith("; everything runs on the CPU.")
    assert cpu == f"CPU: {machine.thread_count()}"


@no_gpu
def test_the_same_for_programs(caffelite):
    code, out, _ = caffelite("device_query", "-gpu", "0", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["gpus"] == [] and found["usable"] is False and found["reason"]
    assert (found["threads"], found["threads_reason"]) == machine.thread_count()


@no_gpu
@pytest.mark.parametrize("gpu", ["0", "99", "all", "0,1"])
def test_a_run_goes_on_on_the_cpu(gpu, caffelite, run_folder):
    code, _, err = caffelite("time", "net.prototxt", "-iterations", "1", "-gpu", gpu)
    assert code == 0
    assert "; it runs on the CPU" in err


@pytest.mark.parametrize(("gpu", "text"), [("all", "so it runs on GPU 0 alone"), ("3,1", "so it runs on GPU 3 alone")])
def test_of_several_one_is_used_and_that_is_said(gpu, text, caffelite, run_folder):
    err = caffelite("time", "net.prototxt", "-iterations", "1", "-gpu", gpu)[2]
    assert f"caffelite: warning: --gpu {gpu}: one process uses one GPU, {text}" in err


@no_gpu
def test_all_are_told_of(caffelite):
    assert caffelite("device_query", "-gpu", "all")[:2] == caffelite("device_query")[:2]


def test_what_is_no_number(caffelite, run_folder):
    code, _, err = caffelite("time", "net.prototxt", "--gpu", "first")
    assert code == 2
    assert '"first" is no number of a GPU' in err


@pytest.mark.parametrize("code", ["import caffelite.net", "import caffelite.cli.train, caffelite.pycaffe.solver"])
def test_nothing_of_cuda_is_imported_before_it_is_asked_for(code):
    check = f"{code}, sys; assert not [m for m in sys.modules if m.startswith(('numba.cuda', 'numba_cuda', 'cuda'))]"
    subprocess.run([sys.executable, "-c", check], check=True)
