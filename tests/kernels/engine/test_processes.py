import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffelite.kernels.engine import settings
from caffelite.kernels.engine.calls import call, together
from caffelite.kernels.engine.compiling import kernel, specialised

_HELPERS = """
import numpy as np
from numba.extending import register_jitable
from caffelite.kernels.engine import settings
from caffelite.kernels.engine.calls import call, together
from caffelite.kernels.engine.compiling import specialised

@specialised
def make(step):
    @register_jitable
    def deal(row, dealt):
        for i in range(dealt.shape[1]):
            for j in range(step):
                dealt[j, i] = np.sin(row[i * step + j]) + np.cos(row[i * step]) + np.exp(row[i]) + np.tanh(row[j])
        for i in range(dealt.shape[1]):
            for j in range(step):
                dealt[j, i] = row[i * step + j]

    def run(begin, end, worker, x, y, a, b):
        for i in range(begin, end):  # often enough that LLVM does not copy it to every place
            deal(y, a)
            deal(x, b)
            deal(y, b)
            deal(x, a)
            for j in range(len(x)):
                deal(x, a)
                deal(y, b)

    return run

settings.compilers = lambda: 2
x, y = np.arange(60, dtype=np.float32), np.arange(60, dtype=np.float32) + 100
with together():
    made = []
    for step in (2, 3, 4, 5):
        a, b = np.zeros((step, 60 // step), np.float32), np.zeros((step, 60 // step), np.float32)
        made.append((a, b, call(make(step), 1, x, y, a, b)))
for a, b, run in made:
    run()
    assert np.array_equal(a.T.reshape(-1), x) and np.array_equal(b.T.reshape(-1), y), (step, a, b)
"""


def test_kernels_kept_by_different_processes_are_not_mixed_up(tmp_path: Path) -> None:
    script = tmp_path / "helpers.py"  # the key of kept code has a digest of the file
    script.write_text(_HELPERS)
    environment = {**os.environ, "CAFFELITE_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    for _ in range(2):
        subprocess.run([sys.executable, str(script)], env=environment, check=True)


@specialised
def _fill_with(number: int):
    def fill(begin, end, worker, y):
        for i in range(begin, end):
            y[i] = number

    return fill


def test_kernels_needed_together_are_compiled_in_processes(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("caffelite.kernels.engine.keeping.code_folder", lambda: tmp_path)
    monkeypatch.setattr(settings, "compilers", lambda: 3)
    y = [np.zeros(3, np.float32) for _ in range(4)]
    with together():
        calls = [call(_fill_with(i), 3, y[i]) for i in range(4)]
        call(_fill_with(9), 3, y[0])()  # what is run inside does not wait
        assert y[0].tolist() == [9] * 3
    for one in calls:
        one()
    assert [array.tolist() for array in y] == [[i] * 3 for i in range(4)]
    assert len(list(tmp_path.glob("*.code"))) == 5


def test_an_error_in_a_kernel_compiled_with_others(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("caffelite.kernels.engine.keeping.code_folder", lambda: tmp_path)
    monkeypatch.setattr(settings, "compilers", lambda: 2)

    @kernel
    def wrong(begin, end, worker, y):
        y.no_such_method()

    y = np.zeros(3, np.float32)
    with pytest.raises(Exception, match="no_such_method"), together():
        for number in (20, 21):
            call(_fill_with(number), 3, y)
        call(wrong, 3, y)
    assert call(_fill_with(20), 3, y).workers  # the next one is not held up
