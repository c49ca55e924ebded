"""Files are there whole or not at all, and nothing of killed runs stays."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caffelite import files
from caffelite.files import atomic_write, replace, scratch_folder

fcntl = pytest.importorskip("fcntl")
ROOT = Path(__file__).parent.parent
LIVING = """
import sys
from pathlib import Path
from caffelite.files import scratch_folder
with scratch_folder(Path(sys.argv[1]), "mnist") as scratch:
    (scratch / "part").write_bytes(b"x" * 1000)
    print(scratch, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def sweep_again():
    files._sweep.cache_clear()


@pytest.fixture
def living(tmp_path):
    """A process that is writing into a folder, and its scratch folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", LIVING, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    scratch = Path(process.stdout.readline().strip())
    assert (scratch / "part").is_file()
    yield process, scratch
    process.kill()
    process.communicate()


def write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(text)


def test_a_file_is_there_at_the_end(tmp_path):
    target = tmp_path / "deep" / "er" / "a.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("one")
        assert not target.exists()
    assert target.read_text() == "one"
    write(target, "two")
    assert target.read_text() == "two"
    assert os.listdir(target.parent) == ["a.txt"]
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask


def test_after_an_error_what_was_there_is_there(tmp_path):
    write(tmp_path / "a", "one")
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("tw")
        raise KeyboardInterrupt
    assert (tmp_path / "a").read_text() == "one"
    assert os.listdir(tmp_path) == ["a"]


def test_a_long_name(tmp_path):
    write(tmp_path / ("ü" * 120), "one")
    assert len(os.listdir(tmp_path)) == 1


def test_a_folder_takes_the_place_of_another(tmp_path):
    for text in ("one", "two"):
        with scratch_folder(tmp_path, "base") as scratch:
            (scratch / "base" / "inner").mkdir(parents=True)
            (scratch / "base" / "inner" / "data").write_text(text)
            replace(scratch / "base", tmp_path / "base")
        assert (tmp_path / "base" / "inner" / "data").read_text() == text
        assert os.listdir(tmp_path) == ["base"]


def test_the_error_of_a_full_disk_names_the_target(tmp_path):
    target = tmp_path / "a"
    with (
        pytest.raises(OSError, match="No space left on device after 4 bytes; .* are free") as raised,
        atomic_write(target) as temporary,
    ):
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert raised.value.filename == str(target)
    assert os.listdir(tmp_path) == []


def test_the_error_of_something_else_is_kept(tmp_path):
    with pytest.raises(FileNotFoundError) as raised, atomic_write(tmp_path / "a"):
        (tmp_path / "source").read_bytes()
    assert raised.value.filename == str(tmp_path / "source")
    with pytest.raises(OSError, match="^cannot write mode$"), atomic_write(tmp_path / "a"):
        raise OSError("cannot write mode")


def test_a_folder_in_the_place_of_a_file_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError) as raised:
        write(tmp_path / "a", "one")
    assert raised.value.filename == str(tmp_path / "a")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes with a name")
def test_a_pipe_is_no_file_to_be_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="a device or a pipe"), atomic_write(tmp_path / name):
            raise AssertionError("nothing is written")
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()


def test_what_a_killed_run_left_is_removed(tmp_path, living):
    process, scratch = living
    write(tmp_path / "a", "one")
    assert (scratch / "part").is_file()  # it lives
    process.kill()
    process.wait()
    write(tmp_path / "a", "two")
    assert scratch.exists()  # one look a process is enough
    files._sweep.cache_clear()
    write(tmp_path / "a", "three")
    assert os.listdir(tmp_path) == ["a"]


def test_what_other_machines_left_goes_after_a_day(tmp_path):
    left = tmp_path / ".mnist.00000000-00000000.unfinished"
    left.mkdir()
    (left / "lock").touch()
    write(tmp_path / "a", "one")
    assert left.exists()
    yesterday = time.time() - 100_000
    os.utime(left, (yesterday, yesterday))
    files._sweep.cache_clear()
    write(tmp_path / "a", "one")
    assert not left.exists()


def test_where_files_cannot_be_locked_nothing_is_removed(tmp_path, monkeypatch):
    left = tmp_path / f".mnist.{files._host()}-00000000.unfinished"
    left.mkdir()
    (left / "lock").touch()

    def flock(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", flock)
    write(tmp_path / "a", "one")
    assert sorted(os.listdir(tmp_path)) == [left.name, "a"]


@pytest.mark.parametrize("name", [".a.swp", ".mnist.abcd1234", "a.0123abcd-0123abcd.unfinished", ".a.x.unfinished"])
def test_what_others_left_stays(name, tmp_path):
    (tmp_path / name).mkdir()
    (tmp_path / name / "lock").touch()
    write(tmp_path / "a", "one")
    assert (tmp_path / name / "lock").exists()


def test_a_run_whose_new_folder_was_swept_takes_another(tmp_path, monkeypatch):
    made, names = Path.mkdir, iter(["00000000", "00000001"])
    monkeypatch.setattr(files, "token_hex", lambda _: next(names))

    def mkdir(path, *args, **kwargs):
        made(path, *args, **kwargs)
        if path.name.endswith("-00000000.unfinished"):
            files._sweep.cache_clear()
            files._sweep(tmp_path)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with scratch_folder(tmp_path, "a") as scratch:
        assert scratch.name.endswith("-00000001.unfinished")
        assert scratch.is_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_what_other_users_left_stays(tmp_path):
    left = tmp_path / f".mnist.{files._host()}-00000000.unfinished"
    left.mkdir()
    (left / "lock").touch()
    os.chown(left, 12345, 12345)
    write(tmp_path / "a", "one")
    assert left.exists()
    os.chown(left, 0, 0)
    files._sweep.cache_clear()
    write(tmp_path / "a", "one")
    assert not left.exists()


def test_nothing_is_left_where_a_signal_comes_as_soon_as_there_is_a_folder(tmp_path, monkeypatch):
    def interrupted(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_locked", interrupted)
    with pytest.raises(KeyboardInterrupt), scratch_folder(tmp_path, "x"):
        pass
    assert not os.listdir(tmp_path)
