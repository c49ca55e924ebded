"""Files of arrays that are not trusted: numbers come back as they were, and everything else is refused."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from caffelite.errors import DataError
from caffelite.schema import npz
from caffelite.schema.npz import npz_names, read_npy, read_npz, write_npz


def test_round_trip(tmp_path: Path):
    blobs = {"file": np.arange(6, dtype=np.float32).reshape(2, 3), "conv1/3x3": np.float32(2).reshape(())}
    write_npz(tmp_path / "a.npz", blobs)
    read = read_npz(tmp_path / "a.npz")
    assert list(read) == list(blobs) and all((read[name] == blobs[name]).all() for name in blobs)
    assert {name: values.shape for name, values in np.load(tmp_path / "a.npz").items()} == {
        "file": (2, 3),
        "conv1/3x3": (),
    }


def test_arrays_of_numpy(tmp_path: Path):
    x = np.arange(12).reshape(3, 4)
    np.savez_compressed(tmp_path / "a.npz", whole=x, turned=np.asfortranarray(x * 0.5), yes=x > 3)
    read = read_npz(tmp_path / "a.npz")
    assert (read["whole"] == x).all() and (read["turned"] == x * 0.5).all() and (read["yes"] == (x > 3)).all()
    assert {values.dtype for values in read.values()} == {np.dtype(np.float32)}
    as_they_are = read_npz(tmp_path / "a.npz", ["yes", "whole"], None)
    assert {name: values.dtype for name, values in as_they_are.items()} == {"whole": x.dtype, "yes": np.bool_}
    assert npz_names(tmp_path / "a.npz") == ["whole", "turned", "yes"]
    np.save(tmp_path / "a.npy", x)
    assert (read_npy(tmp_path / "a.npy") == x).all()


def npy(shape: str, data: bytes, dtype: str = "<f4") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a.npy": npy("(2,)", bytes(4))}, '"a" has another size than its header says'),
        ({"a.npy": npy("(1000000, 1000000)", bytes(4))}, '"a" has another size than its header says'),
        ({"a.npy": npy("(-1,)", bytes(4))}, '"a" has another size than its header says'),
        ({"a.npy": npy("(1,)", bytes(8), "|O")}, "a pickle, which is never opened"),
        ({"a.npy": npy("(1,)", bytes(8), "<c8")}, "of type complex64, and not of numbers"),
        ({"a.npy": npy("__import__('os')", b"")}, "its arrays cannot be read"),
        ({"a.npy": b"\x93NUMPY\x03\x00" + bytes(20)}, "is in version 3.0 of NumPy's format"),
        ({"a.npy": b"none"}, "its arrays cannot be read"),
        ({"a.txt": b"text"}, '"a.txt" is no array'),
        ({}, "there is no array in it"),
    ],
)
def test_what_is_refused(content: dict[str, bytes], said: str, tmp_path: Path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(DataError, match="a.npz") as raised:
        read_npz(path)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_a_file_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(100000))
    monkeypatch.setattr(npz, "LARGEST", 10000)
    with pytest.raises(DataError, match="its arrays take 800,128 bytes, and at most 10,000 are read"):
        read_npz(tmp_path / "a.npz")


def test_what_announces_more_than_it_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    np.savez(tmp_path / "a.npz", x=np.zeros(10))
    read = zipfile.ZipFile.infolist

    def larger(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        for entry in read(archive):
            entry.file_size = 10**6
        return read(archive)

    monkeypatch.setattr(zipfile.ZipFile, "infolist", larger)
    with pytest.raises(DataError, match='"x" announces 1,000,000 bytes, 208 are there'):
        read_npz(tmp_path / "a.npz")


def test_a_file_that_is_cut(tmp_path: Path):
    np.savez(tmp_path / "a.npz", x=np.zeros(1000))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "b.npz").write_bytes(content[:500])
    (tmp_path / "c.npz").write_bytes(content[:300] + b"x" + content[301:])
    for name in ("b.npz", "c.npz"):
        with pytest.raises(DataError, match=f"{name}: its arrays cannot be read"):
            read_npz(tmp_path / name)
