import os
import shutil
import subprocess
import sys
import tempfile
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


@pytest.fixture(scope="module")
def filled_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kept = tmp_path_factory.mktemp("filled") / "kept"
    assert not _run(_TWO_KERNELS, kept)
    assert len(list(kept.rglob("*.*"))) == 5
    return kept


@pytest.fixture
def filled(filled_once: Path, tmp_path: Path) -> Path:
    """Return a cache with two kernels, the functions that start them, and the key."""
    return Path(shutil.copytree(filled_once, tmp_path / "kept"))


def _run(code: str, cache: Path) -> str:
    environment = {**os.environ, "CAFFELITE_CACHE": str(cache), "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stderr


def _contents(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def test_damaged_machine_code_is_compiled_anew(filled: Path) -> None:
    whole = _contents(filled)
    for path in filled.rglob("*.*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 4 : -len(content) // 4] = b"\x90" * len(content[len(content) // 4 : -len(content) // 4])
        path.write_bytes(content)
    damaged = _contents(filled)
    assert not _run(_TWO_KERNELS, filled)
    mended = _contents(filled)
    assert mended.keys() == whole.keys() and mended["key"] == whole["key"]
    assert not [name for name in mended if name != "key" and mended[name] == damaged[name]]


@pytest.mark.parametrize("key", [b"", b"short", bytes(32)], ids=["empty", "short", "other"])
def test_another_key(filled: Path, key: bytes) -> None:
    (path,) = filled.rglob("key")
    path.write_bytes(key)
    whole = _contents(filled)
    assert not _run(_TWO_KERNELS, filled)
    assert not [name for name, content in _contents(filled).items() if name != "key" and content == whole[name]]
    assert len(path.read_bytes()) == 32 and path.stat().st_mode & 0o777 == 0o600


def test_what_numba_would_unpickle_is_not_looked_at(filled: Path, tmp_path: Path) -> None:
    """Numba's own cache took whatever lay in its folder for a pickle, which is a program."""
    (folder,) = (filled / "kernels").iterdir()
    hostile = b"cos\nsystem\n(S'touch " + str(tmp_path / "pwned").encode() + b"'\ntR."
    for function in ("work", "run", "stop"):
        name = f"team.{function}-driver.py{sys.version_info[0]}{sys.version_info[1]}"
        for path in (folder / f"{name}.nbi", folder / f"{name}.1.nbc"):
            path.write_bytes(hostile)
    assert not _run(_TWO_KERNELS, filled)
    assert not (tmp_path / "pwned").exists()


@pytest.mark.skipif(os.name != "posix", reason="modes of folders")
def test_a_folder_that_others_can_write(filled: Path) -> None:
    (folder,) = (filled / "kernels").iterdir()
    folder.chmod(0o770)
    before = _contents(filled)
    said = _run(_TWO_KERNELS, filled)
    assert said.count("UserWarning") == 1
    assert f"compiled kernels in {folder} are not used, because others may write to it (mode 770)" in said
    assert "set CAFFELITE_CACHE to a folder that is yours alone" in said
    assert _contents(filled) == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a file away")
def test_files_of_another_user(filled: Path) -> None:
    before = _contents(filled)
    for path in filled.rglob("*.*"):
        os.chown(path, 12345, -1)
    times = {path: path.stat().st_mtime_ns for path in filled.rglob("*.*")}
    assert not _run(_TWO_KERNELS, filled)
    assert not [path for path, time in times.items() if path.stat().st_mtime_ns == time]
    assert {path.stat().st_uid for path in filled.rglob("*")} == {0}
    (folder,) = (filled / "kernels").iterdir()
    os.chown(folder, 12345, -1)
    assert "because it belongs to another user (uid 12345)" in _run(_TWO_KERNELS, filled)
    assert _contents(filled).keys() == before.keys()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can become another user")
def test_a_cache_that_root_filled_serves_others(filled: Path) -> None:
    # Not below pytest's folders, which are their owner's alone.
    with tempfile.TemporaryDirectory() as folder:
        open_to_all = Path(shutil.copytree(filled, Path(folder, "kept")))
        subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
        assert not _load_as_another(open_to_all)


def _load_as_another(filled: Path) -> str:
    as_another = f"""
import os, sys
from pathlib import Path
from caffelite.kernels.engine import keeping, sealing
{_TWO_KERNELS}
sealing._keys.clear()
os.setgid(12345), os.setuid(12345)
files = list(keeping.code_folder().glob("*.*"))
assert len(files) == 5 and all(map(keeping.load, files))
"""
    return _run(as_another, filled)


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
    assert len(list(kept.rglob("*.code"))) == 2 and len(list(kept.rglob("*.driver"))) == 3
    mask = os.umask(0o22)
    os.umask(mask)
    assert {path.stat().st_mode & 0o777 for path in kept.rglob("*.*")} == {0o644 & ~mask}
    assert {path.stat().st_mode & 0o777 for path in kept.rglob("key")} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (kept, *kept.rglob("*")) if path.is_dir()} == {0o700}
    written = {path: path.stat().st_mtime_ns for path in kept.rglob("*.*")}
    assert not _in_a_home_that_cannot_be_written(tmp_path, CAFFELITE_CACHE=str(kept))
    assert written == {path: path.stat().st_mtime_ns for path in kept.rglob("*.*")}


@pytest.mark.skipif(os.name != "posix", reason="a path below /dev/null")
def test_the_folder_that_numba_was_given(tmp_path: Path) -> None:
    kernels, drivers = tmp_path / "kernels", tmp_path / "drivers"
    assert not _in_a_home_that_cannot_be_written(tmp_path, CAFFELITE_CACHE=str(kernels), NUMBA_CACHE_DIR=str(drivers))
    assert len(list(kernels.rglob("*.code"))) == 2 and len(list(drivers.rglob("*.driver"))) == 3
    assert not list(kernels.rglob("*.driver"))
    said = _in_a_home_that_cannot_be_written(tmp_path, CAFFELITE_CACHE=str(kernels), NUMBA_CACHE_DIR="/dev/null/numba")
    assert said.count("UserWarning") == 1 and "set NUMBA_CACHE_DIR to a folder" in said


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(filled: Path) -> None:
    (folder,) = (filled / "kernels").iterdir()
    old, new = folder / "a.code.1234", folder / "b.code.5678"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    _run(_TWO_KERNELS.replace("np.float32", "np.float64"), filled)
    assert not old.exists() and new.exists()


def test_a_full_disk_is_told_once_and_leaves_nothing(filled: Path) -> None:
    full = """
import errno, os
from caffelite.kernels.engine import sealing
def write(path, content):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
sealing.write = write
"""
    said = _run(full + _TWO_KERNELS.replace("np.float32", "np.float64"), filled)
    assert said.count("cannot be kept") == 1 and "No space left on device" in said
