"""What is run as code is taken only as it was written, by whoever may write it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from caffelite.kernels.engine import sealing


def test_any_damage_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    sealing.write(path, b"some machine code")
    assert sealing.read(path) == b"some machine code"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
            assert sealing.read(path) is None
        path.write_bytes(whole[:place])
        assert sealing.read(path) is None
    path.write_bytes(whole)
    path.rename(tmp_path / "another")
    assert sealing.read(tmp_path / "another") is None  # under another name it is another kernel


@pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes")
def test_what_is_no_plain_file_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    sealing.write(path, b"some machine code")
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert sealing.read(path) is None
    path.unlink()
    os.mkfifo(path)
    assert sealing.read(path) is None
    path.unlink()
    (tmp_path / "elsewhere").rename(path)
    assert sealing.read(path) is not None
    path.chmod(0o664)
    assert sealing.read(path) is None


@pytest.mark.skipif(os.name != "posix", reason="modes of folders")
def test_a_folder_that_others_can_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(PermissionError, match="others may write"):
        sealing.write(tmp_path / "kernel", b"code")
    assert not list(tmp_path.iterdir())


def test_the_key_is_made_once(tmp_path: Path) -> None:
    """Processes that start together have one key, and so read what each other wrote."""
    program = """
import sys, time
from pathlib import Path
from caffelite.kernels.engine import sealing
while time.time() < float(sys.argv[3]):
    pass
sealing.write(Path(sys.argv[1], sys.argv[2]), b"code")
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    start = str(time.time() + 3)
    writers = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path, str(i), start], env=environment) for i in range(6)
    ]
    assert [writer.wait() for writer in writers] == [0] * 6
    assert [sealing.read(tmp_path / str(i)) for i in range(6)] == [b"code"] * 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [*"012345", "key"]


def test_a_folder_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object) -> None:
        raise PermissionError("this file system has no links")

    monkeypatch.setattr(os, "link", none)
    sealing.write(tmp_path / "kernel", b"code")
    assert sealing.read(tmp_path / "kernel") == b"code"
