import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from caffelite.kernels.engine import launch, settings
from caffelite.kernels.engine.arrays import accumulate, copy, zeros
from caffelite.kernels.engine.launch import call, kernel, specialised


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
from caffelite.kernels.engine import launch
from caffelite.kernels.engine.arrays import accumulate
compiled = []
launch.on_compile = compiled.append
a, b = np.ones(5, np.float32), np.ones(5, np.float32)
accumulate(a, b)()
assert b.tolist() == [2] * 5
print(len(compiled))
"""
    environment = {**os.environ, "CAFFELITE_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    counts = [
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert [int(count) for count in counts] == [1, 0]
    kept = next(tmp_path.rglob("*.code"))
    kept.write_bytes(kept.read_bytes()[:100])  # cut off by a full disk, say
    again = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert int(again.stdout) == 1


_TWO_KERNELS = """
import numpy as np
from caffelite.kernels.engine.arrays import accumulate, copy
a, b = np.ones(100_000, np.float32), np.zeros(100_000, np.float32)
copy(a, b)()
accumulate(a, b)()
assert (b == 2).all()
"""


def _in_a_home_that_cannot_be_written(folder: Path, **variables: str) -> str:
    """Run two kernels from a package that nothing can be kept beside; return what is said."""
    package = folder / "caffelite"
    if not package.exists():
        shutil.copytree(Path(launch.__file__).parents[1], package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / "kernels" / "__pycache__").touch()
    folders = ("CAFFELITE_CACHE", "NUMBA_CACHE_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in folders}
    nowhere = "/dev/null/home"
    environment |= {"HOME": nowhere, "XDG_CACHE_HOME": nowhere, "PYTHONPATH": str(folder)} | variables
    done = subprocess.run([sys.executable, "-c", _TWO_KERNELS], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.skipif(os.name != "posix", reason="a path below /dev/null")
def test_a_home_that_cannot_be_written(tmp_path: Path) -> None:
    said = _in_a_home_that_cannot_be_written(tmp_path)
    assert said.count("UserWarning") == 1
    assert "compiled kernels cannot be kept in /dev/null/home/caffelite/kernels/" in said
    assert "each run compiles them anew; set CAFFELITE_CACHE to a folder that can be written" in said

    kept = tmp_path / "kept"
    assert not _in_a_home_that_cannot_be_written(tmp_path, CAFFELITE_CACHE=str(kept))
    assert len(list(kept.rglob("*.code"))) == 2 and len(list(kept.rglob("*.nbc"))) == 3
    mask = os.umask(0o22)
    os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in kept.rglob("*.*")} == {0o666 & ~mask}  # for other users too
    written = {path: path.stat().st_mtime_ns for path in kept.rglob("*.*")}
    assert not _in_a_home_that_cannot_be_written(tmp_path, CAFFELITE_CACHE=str(kept))
    assert written == {path: path.stat().st_mtime_ns for path in kept.rglob("*.*")}


@pytest.mark.skipif(os.name != "posix", reason="a path below /dev/null")
def test_the_folder_that_numba_was_given(tmp_path: Path) -> None:
    kernels, drivers = tmp_path / "kernels", tmp_path / "drivers"
    assert not _in_a_home_that_cannot_be_written(tmp_path, CAFFELITE_CACHE=str(kernels), NUMBA_CACHE_DIR=str(drivers))
    assert len(list(kernels.rglob("*.code"))) == 2 and len(list(drivers.rglob("*.nbc"))) == 3
    assert not list(kernels.rglob("*.nbc"))
    said = _in_a_home_that_cannot_be_written(tmp_path, CAFFELITE_CACHE=str(kernels), NUMBA_CACHE_DIR="/dev/null/numba")
    assert said.count("UserWarning") == 1 and "set NUMBA_CACHE_DIR to a folder" in said


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


@pytest.mark.skipif(
    settings.THREADING_LAYER != "omp" or not sys.platform.startswith("linux"), reason="another threading layer"
)
@pytest.mark.parametrize(
    "variables, spins",
    [
        ({}, str(settings.SPINS)),
        ({"NUMBA_THREADING_LAYER": "omp"}, str(settings.SPINS)),
        ({"GOMP_SPINCOUNT": "77"}, "77"),
        ({"OMP_WAIT_POLICY": "active"}, "30000000000"),
        ({"OMP_WAIT_POLICY": "passive"}, "0"),
    ],
)
def test_threads_that_wait_go_to_sleep_unless_the_user_says_otherwise(variables: dict[str, str], spins: str) -> None:
    code = "import os; from caffelite.kernels import settings; print(os.environ.get('GOMP_SPINCOUNT'))"
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "NUMBA_THREADING_LAYER")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": os.pathsep.join(sys.path)} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
    assert done.stdout.strip() == str(variables.get("GOMP_SPINCOUNT"))  # programs started from here have their own


_HELPERS = """
import numpy as np
from numba.extending import register_jitable
from caffelite.kernels.engine import launch, settings
from caffelite.kernels.engine.launch import call, specialised

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
with launch.together():
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
    monkeypatch.setattr(settings, "code_folder", lambda: tmp_path)
    monkeypatch.setattr(settings, "compilers", lambda: 3)
    y = [np.zeros(3, np.float32) for _ in range(4)]
    with launch.together():
        calls = [call(_fill_with(i), 3, y[i]) for i in range(4)]
        call(_fill_with(9), 3, y[0])()  # what is run inside does not wait
        assert y[0].tolist() == [9] * 3
    for one in calls:
        one()
    assert [array.tolist() for array in y] == [[i] * 3 for i in range(4)]
    assert len(list(tmp_path.glob("*.code"))) == 5


def test_an_error_in_a_kernel_compiled_with_others(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(settings, "code_folder", lambda: tmp_path)
    monkeypatch.setattr(settings, "compilers", lambda: 2)

    @kernel
    def wrong(begin, end, worker, y):
        y.no_such_method()

    y = np.zeros(3, np.float32)
    with pytest.raises(Exception, match="no_such_method"), launch.together():
        for number in (20, 21):
            call(_fill_with(number), 3, y)
        call(wrong, 3, y)
    assert call(_fill_with(20), 3, y).workers  # the next one is not held up


def test_calls_in_a_row_run_in_order_as_one_step() -> None:
    x, y, seen = np.ones(9, np.float32), np.zeros(9, np.float32), np.zeros(9, np.int64)
    said = []
    add = call(_axpy, 9, x, y, 1.0, seen, work=9)
    steps = launch.in_rows([add, call(_axpy, 9, y, x, 1.0, seen), add, lambda: said.append(y.tolist()), add])
    assert [type(step) for step in steps] == [launch.Row, type(lambda: None), launch.Row]
    for step in steps:
        step()
    assert said == [[3] * 9] and x.tolist() == [2] * 9 and y.tolist() == [5] * 9


class _Whole(NamedTuple):
    first: int
    step: int


class _Mixed(NamedTuple):
    first: int
    factor: float


def test_records_of_numbers() -> None:
    @kernel
    def fill(begin, end, worker, whole, y, mixed):
        for i in range(begin, end):
            y[i] = (whole.first + whole.step * i) * mixed.factor + mixed.first

    y = np.zeros(4)
    call(fill, 4, _Whole(first=1, step=2), y, _Mixed(first=10, factor=0.5))()
    assert y.tolist() == [10.5, 11.5, 12.5, 13.5]
