"""Arrays come out of pickles of every protocol, and nothing else does."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffelite.datasets.pickled import read_arrays
from caffelite.errors import DataError


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_dictionaries_of_arrays(protocol: int) -> None:
    arrays = {
        "data": np.arange(24, dtype=np.uint8).reshape(4, 6),
        "transposed": np.arange(6, dtype="<i4").reshape(2, 3).T,
        "float": np.array([1.5, -2.0]),
        "labels": [0, 1, 300, 70_000, -5],
        "names": ["a", "bé"],
        "more": ("x", 1, (), [], {}, None, True, 2.5),
    }
    found = read_arrays(pickle.dumps(arrays, protocol), "file")
    assert found.keys() == arrays.keys()
    for name, value in arrays.items():
        if isinstance(value, np.ndarray):
            assert found[name].dtype == value.dtype
            np.testing.assert_array_equal(found[name], value)
        else:
            assert found[name] == value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_a_single_array(protocol: int) -> None:
    array = np.arange(5, dtype=np.uint8)
    np.testing.assert_array_equal(read_arrays(pickle.dumps(array, protocol), "file"), array)


def test_reads_what_python_2_wrote() -> None:
    # A dictionary as CIFAR-10 has it: protocol 2, with the strings of Python 2.
    content = (
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b"
        b"\x87Rq\x05(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x06\x00\x01\x02\x03\xfe\xfftbU\x06labelsq\x08]q\t(K\x06K\x09eu."
    )
    found = read_arrays(content, "data_batch_1")
    np.testing.assert_array_equal(found["data"], [[0, 1, 2], [3, 254, 255]])
    assert found["labels"] == [6, 9]


class Call:
    """Pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_runs_nothing(protocol: int, tmp_path: Path) -> None:
    target = tmp_path / "x"
    harms = Call(Path.touch, target), Call(eval, f"open({str(target)!r}, 'w')"), Call(print, 1)
    for harm in harms:
        with pytest.raises(DataError, match="asks for .*only arrays are made"):
            read_arrays(pickle.dumps({"data": harm}, protocol), "file")
    assert not list(tmp_path.iterdir())


ARRAY = pickle.dumps(np.arange(300, dtype=np.uint8), 2)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"no pickle",
        b"}",
        b"0.",
        b"h\x05.",
        b"(e.",
        b"t.",
        b"}s.",
        b"Nb.",
        b"NR.",
        b"}(K\x01u.",
        b"\x80\x02cnumpy\ndtype\n.R",
        b"cos\nsystem\n.",
        b"cnumpy\nndarray\n)R.",
        b"\x80\x02N\x81.",
        b"Pabc\n.",
        ARRAY[:40],
        ARRAY[:-3],
        ARRAY.replace(b"M,\x01", b"M\x2d\x01"),
        ARRAY.replace(b"u1", b"O8"),
        ARRAY.replace(b"M,\x01", b"J\xff\xff\xff\xff"),
    ],
)
def test_damage_is_an_error(content: bytes) -> None:
    with pytest.raises(DataError, match=r"^some file is (damaged|not read)"):
        read_arrays(content, "some file")


def test_objects_in_an_array_are_refused() -> None:
    with pytest.raises(DataError, match="an array of type"):
        read_arrays(pickle.dumps(np.array([{}], object)), "file")
