import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import caffelite


def test_machine_code_is_kept_for_the_next_process(tmp_path: Path) -> None:
    code = """
import numpy as np
from caffelite.kernels.engine.arrays import accumulate
from caffelite.kernels.engine.compiling import listening
compiled = []
a, b = np.ones(5, np.float32), np.ones(5, np.float32)
with listening(compiled.append):
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
        shutil.copytree(Path(caffelite.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
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
