"""MemoryData and set_input_arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffelite as caffe
from caffelite.errors import NetError

NET = """layer { name: "d" type: "MemoryData" top: "x" top: "y"
  memory_data_param { batch_size: 2 channels: 3 height: 4 width: 5 } }
layer { name: "p" type: "InnerProduct" bottom: "x" top: "p" inner_product_param { num_output: 1 } }"""
DATA = np.random.default_rng(0).standard_normal((6, 3, 4, 5)).astype(np.float32)
LABELS = np.arange(6, dtype=np.float32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.prototxt").write_text(NET)
    return tmp_path / "a.prototxt"


def labels(net: Any, passes: int) -> list[float]:
    found = []
    for _ in range(passes):
        net.forward()
        first = int(net.blobs["y"].data[0])
        np.testing.assert_array_equal(net.blobs["x"].data, DATA[first : first + 2])
        found += net.blobs["y"].data.tolist()
    return found


def test_it_goes_through_the_arrays_and_starts_over(file: Path) -> None:
    net = caffe.Net(file, caffe.TEST)
    net.set_input_arrays(DATA, LABELS)
    assert labels(net, 4) == [0, 1, 2, 3, 4, 5, 0, 1]
    assert net.blobs["y"].shape == (2,)
    net.set_input_arrays(DATA[:4], LABELS[:4, None, None, None])
    assert labels(net, 3) == [0, 1, 2, 3, 0, 1]
    other = caffe.Net(file, caffe.TEST)
    net.share_with(other)
    assert labels(net, 1) == [0, 1]


def test_arrays_are_used_where_they_are(file: Path) -> None:
    net = caffe.Net(file, caffe.TEST)
    data = DATA.copy()
    net.set_input_arrays(data, LABELS)
    data[:] = 7
    net.forward()
    assert (net.blobs["x"].data == 7).all()


@pytest.mark.parametrize(
    ("data", "labels", "text"),
    [
        (DATA.astype(np.float64), LABELS, "data must be an array of float32, not of float64"),
        (DATA.tolist(), LABELS, "data must be an array of float32, not of list"),
        (DATA, LABELS.astype(int), "labels must be an array of float32, not of int64"),
        (DATA[0], LABELS, "data must be of shape N×3×4×5, not 3×4×5"),
        (DATA[:, :2], LABELS, "data must be of shape N×3×4×5, not 6×2×4×5"),
        (DATA, LABELS.reshape(3, 2, 1, 1), "labels must be of shape N×1×1×1, not 3×2×1×1"),
        (DATA[::-1], LABELS, "data must be C-contiguous"),
        (DATA, LABELS[:4], "there must be as many labels as images, not 4 for 6"),
        (DATA[:5], LABELS[:5], "5 images are not a number of whole batches of 2"),
        (DATA[:0], LABELS[:0], "0 images are not a number of whole batches of 2"),
    ],
)
def test_other_arrays_are_refused(file: Path, data: Any, labels: Any, text: str) -> None:
    net = caffe.Net(file, caffe.TEST)
    with pytest.raises(NetError) as error:
        net.set_input_arrays(data, labels)
    assert text in str(error.value) and 'layer "d": ' in str(error.value)


def test_without_arrays_it_says_so(file: Path) -> None:
    with pytest.raises(NetError, match='layer "d": it has no data: set_input_arrays'):
        caffe.Net(file, caffe.TEST).forward()


def test_sizes_are_needed(file: Path) -> None:
    file.write_text(NET.replace("height: 4", ""))
    with pytest.raises(NetError, match='layer "d": memory_data_param needs height, 1 or more'):
        caffe.Net(file, caffe.TEST)


def test_other_nets_are_refused(file: Path) -> None:
    file.write_text('name: "n" layer { name: "d" type: "Input" top: "x" input_param { shape { dim: 2 } } }')
    with pytest.raises(NetError, match='net "n" begins with a layer of type Input; set_input_arrays is for nets'):
        caffe.Net(file, caffe.TEST).set_input_arrays(DATA, LABELS)


def test_a_transformation_is_not_done_and_that_is_said(file: Path) -> None:
    file.write_text(NET.replace('type: "MemoryData"', 'type: "MemoryData" transform_param { scale: 2 }'))
    net = caffe.Net(file, caffe.TEST)
    with pytest.warns(UserWarning, match='layer "d" does not transform the arrays'):
        net.set_input_arrays(DATA, LABELS)
    assert labels(net, 1) == [0, 1]
