import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from caffelite.kernels import launch, settings
from caffelite.kernels.arrays import accumulate, copy, zeros
from caffelite.kernels.launch import call, kernel, specialised


@kernel
def _axpy(begin, end, worker, x, y, factor, workers_seen):
    for i in range(begin, end):
        y[i] += np.float32(factor) * x[i]
        workers_seen[i] = worker


def test_arguments_of_all_kinds_and_tasks_shared_out() -> None:
    x, y = np.arange(1000, dtype=np.float32), np.ones(1000, np.float32)
    seen = np.full(1000, -1, np.int64)
    bound = call(_axpy, 1000, x, y, 0.5, seen)
    bound()
    x += 1  # what is written between calls is seen
    bound()
    np.testing.assert_allclose(y, 1 + np.arange(1000) + 0.5)
    assert set(seen) == set(range(bound.workers))
    assert (np.diff(seen) >= 0).all()


def test_little_work_runs_on_one_thread() -> None:
    x = np.zeros(4, np.float32)
    assert call(_axpy, 4, x, x, 1.0, np.zeros(4, np.int64), work=4).workers == 1


def test_only_contiguous_arrays() -> None:
    with pytest.raises(TypeError, match="contiguous"):
        call(_axpy, 2, np.zeros((4, 4), np.float32)[:, 0], np.zeros(4, np.float32), 1.0, np.zeros(4, np.int64))


def test_versions_with_constants() -> None:
    @specialised
    def make(number):
        def fill(begin, end, worker, y):
            for i in range(begin, end):
                y[i] = number

        return fill

    y = np.zeros(3, np.float32)
    assert make(5) is make(5)
    call(make(5), 3, y)()
    assert y.tolist() == [5, 5, 5]


def test_machine_code_is_kept_for_the_next_process(tmp_path: Path) -> None:
    code = """
import numpy as np
from caffelite.kernels import launch
from caffelite.kernels.arrays import accumulate
compiled = []
launch.on_compile = compiled.append
a, b = np.ones(5, np.float32), np.ones(5, np.float32)
accumulate(a, b)()
assert b.tolist() == [2] * 5
print(len(compiled))
"""
    environment = {**os.environ, "CAFFELITE_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    counts = [subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True).stdout
              for _ in range(2)]  # fmt: skip
    assert [int(count) for count in counts] == [1, 0]
    kept = next(tmp_path.rglob("*.code"))
    kept.write_bytes(kept.read_bytes()[:100])  # cut off by a full disk, say
    again = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert int(again.stdout) == 1


def test_in_place_is_a_version_of_its_own() -> None:
    x, y = np.arange(9.0, dtype=np.float32), np.zeros(9, np.float32)
    seen = np.zeros(9, np.int64)
    assert launch._same((x, y, 1, 1, x)) == (0, 1, 2, 3, 0)
    assert launch._same((x, x[:4], np.zeros(0), np.zeros(0))) == (0, 1, 2, 3)
    call(_axpy, 9, x, y, 2.0, seen)()
    call(_axpy, 9, x, x, 2.0, seen)()
    np.testing.assert_array_equal(y, 2 * np.arange(9))
    np.testing.assert_array_equal(x, 3 * np.arange(9))


def test_arrays_begin_at_a_cache_line() -> None:
    for shape in (1, 17, (3, 5)):
        assert zeros(shape).ctypes.data % 64 == 0
    a, b = np.arange(10_000, dtype=np.float32), zeros(10_000)
    copy(a, b)()
    accumulate(a, b)()
    np.testing.assert_array_equal(b, 2 * a)


def test_settings() -> None:
    assert settings.vector_width() in (0, 4, 8, 16)
    assert settings.threads() >= 1
    assert launch.SERIAL_WORK > 0
