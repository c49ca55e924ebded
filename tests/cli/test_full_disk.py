"""A disk that is full: one sentence that names the target, exit code 1, nothing half-written stays."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from caffelite.data.database import open_database
from caffelite.datasets import synthetic
from caffelite.datasets.download import Remote
from caffelite.datasets.originals import Splits
from caffelite.datasets.prepare import DATASETS

FULL = re.compile(r"(No space left on device|File too large) after [\d,.]+ (MB|bytes); [\d,.]+ (MB|bytes) are free")


@pytest.fixture
def disk(tmp_path):
    """Make a disk of so many pages (4,096 bytes); what a test has left there at the end is all whole."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def make(pages: int) -> Path:
        options = ["-t", "tmpfs", "-o", f"size={pages * 4096}", "tmpfs", str(folder)]
        if sys.platform != "linux" or subprocess.run(["mount", *options], capture_output=True).returncode:
            pytest.skip("no disk can be mounted here")
        return folder

    yield make
    subprocess.run(["umount", str(folder)], capture_output=True)


def check(result: tuple[int, str, str], target: Path, left: list[str]) -> None:
    code, _, err = result
    last = err.splitlines()[-1]
    assert (code, "Traceback" in err) == (1, False), err
    assert last.startswith(f"caffelite: {target}") and FULL.search(last), last
    assert sorted(os.listdir(target.parent)) == left


@pytest.mark.parametrize(("kind", "pages"), [("BINARYPROTO", 1), ("BINARYPROTO", 3), ("HDF5", 1), ("HDF5", 5)])
def test_a_snapshot(kind, pages, disk, caffelite, run_folder):
    folder = disk(pages)
    solver = Path("solver.prototxt")
    text = solver.read_text().replace('"snap"', f'"{folder}/snap"')
    solver.write_text(f"{text} snapshot_format: {kind}")
    end = ".h5" if kind == "HDF5" else ""
    done = caffelite("train", "solver.prototxt", "--iterations", "6")
    if pages == 1:
        check(done, folder / f"snap_iter_6.caffemodel{end}", [])
    else:
        check(done, folder / f"snap_iter_6.solverstate{end}", [f"snap_iter_6.caffemodel{end}"])


def test_a_limit_of_the_size_of_files(python, run_folder):
    # Not every machine lets a test mount a disk; this one needs nobody.
    code = (
        "import resource, sys; from caffelite.cli import main; import caffelite.cli.train, caffelite.solvers.solver\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); sys.exit(main())"
    )
    process = python("-c", code, "train", "solver.prototxt", "--iterations", "6")
    _, err = process.communicate(timeout=60)
    check((process.returncode, "", err), Path("snap_iter_6.caffemodel"), sorted(os.listdir()))
    assert not any(name.endswith(".unfinished") for name in os.listdir())


def test_a_database_and_a_limit_of_the_size_of_files(python, tmp_path):
    code = (
        "import resource, sys; from caffelite.data.writing import write_database\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000)); records = ((b'%04d' % i, bytes(300)) for i in range(999))\n"
        "try: write_database(sys.argv[1], records)\n"
        "except OSError as error: sys.exit(f'caffelite: {error.filename}: {error.strerror}')"
    )
    process = python("-c", code, str(tmp_path / "records"))
    _, err = process.communicate(timeout=60)
    check((process.returncode, "", err), tmp_path / "records", [])
    assert "File too large" in err


def test_fold(disk, caffelite, run_folder):
    folder = disk(1)
    arguments = ["net.prototxt", "--weights", "snap_iter_12.caffemodel", "--out", str(folder / "new")]
    check(caffelite("bn", "fold", *arguments), folder / "new.caffemodel", [])


@pytest.mark.parametrize("name", ["new.caffemodel", "new.caffemodel.h5"])
def test_recalibrate(name, disk, caffelite, run_folder):
    folder = disk(1)
    arguments = ["net.prototxt", "--weights", "snap_iter_12.caffemodel", "--out", str(folder / name)]
    check(caffelite("bn", "recalibrate", *arguments), folder / name, [])


def test_draw(disk, caffelite, run_folder):
    folder = disk(1)
    (folder / "filler").write_bytes(bytes(4096))
    check(caffelite("draw", "net.prototxt", str(folder / "net.dot")), folder / "net.dot", ["filler"])


@pytest.mark.parametrize(
    ("pages", "target"), [(2, "cifar10_train_lmdb"), (26, "cifar10_mean.binaryproto"), (33, "cifar10_test_lmdb")]
)
def test_data(pages, target, disk, caffelite, monkeypatch, tmp_path):
    monkeypatch.chdir(disk(pages))
    monkeypatch.setenv("CAFFELITE_CACHE", str(tmp_path / "cache"))
    builtin = Splits(lambda: synthetic.shapes(0, 20), lambda: synthetic.shapes(20, 10))
    nowhere = (Remote("cifar-10-binary.tar.gz", 3, "0" * 64, ("http://127.0.0.1:1/x",)),)
    few = dataclasses.replace(DATASETS["cifar10"], remotes=nowhere, builtin=builtin)
    monkeypatch.setitem(DATASETS, "cifar10", few)
    check(caffelite("data", "cifar10"), Path("data", target), [])


@pytest.mark.parametrize("pages", [3, 14, 22])
def test_images_and_a_database_that_is_to_grow(pages, disk, caffelite, run_folder):
    folder = disk(pages)
    arguments = ["convert_imageset", "img/", "list.txt", str(folder / "new")]
    if pages == 3:
        check(caffelite(*arguments), folder / "new", [])
        return
    assert caffelite(*arguments)[0] == 0
    # The records that are added, or then the transaction, have no room.
    check(caffelite(*arguments, "--append"), folder / "new", ["new"])
    database = open_database(folder / "new")
    assert len(database) == 24 and database.last_key() == b"00000023_23.png"
    database.close()
