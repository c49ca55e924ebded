from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from caffelite.errors import WeightsError
from caffelite.schema.blobs import read_blob, write_blob
from caffelite.schema.hdf5 import read_hdf5_state
from caffelite.schema.messages import BlobProto, NetParameter
from caffelite.schema.weights import read_weights, write_caffemodel, write_hdf5

CAFFE = Path(__file__).parent.parent / "caffe"


def test_reads_what_caffe_wrote() -> None:
    found = {layer.name: layer for layer in read_weights(CAFFE / "snap_iter_12.caffemodel")}
    expected = NetParameter.FromString((CAFFE / "snap_iter_12.caffemodel").read_bytes())
    assert [layer.name for layer in expected.layer] == list(found)
    for layer in expected.layer:
        assert found[layer.name].type == layer.type
        for blob, proto in zip(found[layer.name].blobs, layer.blobs, strict=True):
            assert blob.shape == tuple(proto.shape.dim)
            np.testing.assert_array_equal(blob.reshape(-1), np.array(proto.data, np.float32))


def test_hdf5_holds_the_same_as_the_binary_file(tmp_path: Path) -> None:
    binary = {layer.name: layer.blobs for layer in read_weights(CAFFE / "snap_iter_12.caffemodel") if layer.blobs}
    hdf5 = {
        layer.name: layer.blobs for layer in read_weights(CAFFE / "h5" / "snap_iter_12.caffemodel.h5") if layer.blobs
    }
    assert set(binary) == set(hdf5)
    assert all(a.shape == b.shape for name in binary for a, b in zip(binary[name], hdf5[name], strict=True))
    write_hdf5(tmp_path / "w.h5", binary)
    with h5py.File(tmp_path / "w.h5") as file:
        np.testing.assert_array_equal(file["data/conv1/0"][()], binary["conv1"][0])


def test_written_file_is_read_by_protobuf(tmp_path: Path) -> None:
    net = NetParameter(name="n")
    net.layer.add(name="a", type="Scale")
    blobs = {"a": [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(2.5, np.float32)]}
    write_caffemodel(tmp_path / "w.caffemodel", net, blobs)
    again = NetParameter.FromString((tmp_path / "w.caffemodel").read_bytes())
    assert list(again.layer[0].blobs[0].shape.dim) == [2, 3]
    assert list(again.layer[0].blobs[0].data) == [0, 1, 2, 3, 4, 5]
    found = read_weights(tmp_path / "w.caffemodel")[0].blobs
    np.testing.assert_array_equal(found[0], blobs["a"][0])
    assert found[1].shape == ()
    assert [p.name for p in tmp_path.iterdir()] == ["w.caffemodel"]


def test_old_generations_and_doubles(tmp_path: Path) -> None:
    net = NetParameter()
    v1 = net.layers.add(name="v1", type="CONVOLUTION")
    v1.blobs.add(num=1, channels=1, height=2, width=2, data=[1, 2, 3, 4])
    v0 = net.layers.add().layer
    v0.name, v0.type = "v0", "conv"
    v0.blobs.add(num=1, channels=1, height=1, width=1, double_data=[0.5])
    path = tmp_path / "old.caffemodel"
    path.write_bytes(net.SerializeToString())
    first, second = read_weights(path)
    assert (first.name, first.blobs[0].shape) == ("v1", (1, 1, 2, 2))
    assert (second.name, second.blobs[0].tolist()) == ("v0", [[[[0.5]]]])


def test_half_precision_of_a_fork(tmp_path: Path) -> None:
    raw = np.array([1, 2, 0.5], np.float16).tobytes()
    blob = b"\x50\x02" + b"\x62" + bytes([len(raw)]) + raw + b"\x3a\x03\x0a\x01\x03"
    layer = b"\x0a\x01h" + b"\x3a" + bytes([len(blob)]) + blob
    path = tmp_path / "half.caffemodel"
    path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    assert read_weights(path)[0].blobs[0].tolist() == [1, 2, 0.5]


def test_truncated_files_say_where(tmp_path: Path) -> None:
    whole = (CAFFE / "snap_iter_12.caffemodel").read_bytes()
    path = tmp_path / "cut.caffemodel"
    for size in (0, 1, 10, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="cut.caffemodel"):
            read_weights(path)
    path.write_bytes(b"\x00not a model")
    with pytest.raises(WeightsError, match="not a whole protobuf file"):
        read_weights(path)
    with pytest.raises(WeightsError, match="No such file"):
        read_weights(tmp_path / "none")


def test_shape_that_does_not_hold_its_values(tmp_path: Path) -> None:
    net = NetParameter()
    net.layer.add(name="a").blobs.add(data=[1, 2, 3]).shape.dim.extend([2, 2])
    path = tmp_path / "bad"
    path.write_bytes(net.SerializeToString())
    with pytest.raises(WeightsError, match='layer "a", blob 0: its shape 2×2 does not hold the 3 values'):
        read_weights(path)


@pytest.mark.parametrize(
    ("dims", "expected"),
    [([0, 1 << 62], "does not hold"), ([-1, 2], "shape -1×2 does not hold"), ([1] * 40, "more than 32 axes")],
)
def test_shapes_that_no_array_has(dims: list[int], expected: str, tmp_path: Path) -> None:
    net = NetParameter()
    net.layer.add(name="a").blobs.add().shape.dim.extend(dims)
    path = tmp_path / "bad"
    path.write_bytes(net.SerializeToString())
    with pytest.raises(WeightsError, match=expected):
        read_weights(path)


def test_numbers_one_by_one(tmp_path: Path) -> None:
    loose = b"".join(b"\x2d" + np.float32(x).tobytes() for x in range(100))
    layer = b"\x0a\x01a\x3a" + varint(len(loose)) + loose
    path = tmp_path / "loose"
    path.write_bytes(b"\xa2\x06" + varint(len(layer)) + layer)
    np.testing.assert_array_equal(read_weights(path)[0].blobs[0], np.arange(100, dtype=np.float32))


def varint(value: int) -> bytes:
    assert 128 <= value < 1 << 14
    return bytes([value & 127 | 128, value >> 7])


def test_writing_leaves_the_message_alone_and_keeps_all_of_it(tmp_path: Path) -> None:
    net = NetParameter(name="n", force_backward=True)
    net.layer.add(name="a", type="Scale", bottom=["x"], top=["y"]).include.add(phase=1)
    net.layer[0].blobs.add(data=[7])
    net.layer.add(name="b", type="ReLU")
    before = NetParameter.FromString(net.SerializeToString())
    write_caffemodel(tmp_path / "w", net, {"a": [np.zeros((2, 3, 50), np.float32)[:, ::2]]})
    assert net == before
    again = NetParameter.FromString((tmp_path / "w").read_bytes())
    assert list(again.layer[0].blobs[0].shape.dim) == [2, 2, 50]
    assert len(again.layer[0].blobs) == 1
    for layer in (*again.layer, *before.layer):
        layer.ClearField("blobs")
    assert again == before


def test_hdf5_names_with_slashes(tmp_path: Path) -> None:
    blobs = {"inception/1x1": [np.ones(2, np.float32)], "inception": [np.zeros(3, np.float32)], "relu": []}
    write_hdf5(tmp_path / "w.h5", blobs)
    found = {layer.name: [b.tolist() for b in layer.blobs] for layer in read_weights(tmp_path / "w.h5")}
    assert found == {"inception/1x1": [[1, 1]], "inception": [[0, 0, 0]], "relu": []}
    for name in ("/a", "inception/0"):
        with pytest.raises(WeightsError, match=f'"{name}" cannot be the name'):
            write_hdf5(tmp_path / "v.h5", {**blobs, name: []})


def _huge(data: h5py.Group) -> None:
    data.create_dataset("a/0", shape=(1 << 15, 1 << 15), dtype="f4", chunks=(1024, 1024))


def _elsewhere(data: h5py.Group) -> None:
    data["a/0"] = h5py.ExternalLink("other.h5", "/x")


def _outside(data: h5py.Group) -> None:
    beside = Path(data.file.filename).with_name("other.raw")
    data.create_dataset("a/0", shape=(4,), dtype="f4", external=[(str(beside), 0, 16)])


def _gap(data: h5py.Group) -> None:
    data["a/1"] = np.ones(3, np.float32)


def _words(data: h5py.Group) -> None:
    data["a/0"] = "words"


def _circle(data: h5py.Group) -> None:
    group = data.create_group("a")
    group["b"] = group["c"] = group


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (_huge, 'layer "a": "0" announces 4294967296 bytes, 0 are there'),
        (_elsewhere, "a link to another file"),
        (_outside, "in another file"),
        (_gap, "blob 0 is missing"),
        (_words, "does not hold the numbers"),
        (_circle, "more groups than a net has layers"),
        (lambda data: None, "no layer is in it"),
    ],
)
def test_hdf5_files_that_are_not_weights(make: Callable[[h5py.Group], None], expected: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        make(file.create_group("data"))
    with pytest.raises(WeightsError, match=expected):
        read_weights(tmp_path / "w.h5")


def test_truncated_hdf5(tmp_path: Path) -> None:
    whole = (CAFFE / "h5" / "snap_iter_12.caffemodel.h5").read_bytes()
    for size in (8, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / "w.h5").write_bytes(whole[:size])
        with pytest.raises(WeightsError, match="w.h5"):
            read_weights(tmp_path / "w.h5")


def test_hdf5_state_that_is_none(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as file:
        file.create_group("history")
        file["iter"] = np.array([b"a"])
    with pytest.raises(WeightsError, match='"iter" does not hold the numbers'):
        read_hdf5_state(tmp_path / "s.h5")


def test_mean_file(tmp_path: Path) -> None:
    mean = read_blob(CAFFE / "mean.binaryproto")
    assert mean.shape == (1, 3, 16, 16)
    write_blob(tmp_path / "m", mean[0])
    assert BlobProto.FromString((tmp_path / "m").read_bytes()).channels == 3
    np.testing.assert_array_equal(read_blob(tmp_path / "m"), mean)
    (tmp_path / "m").write_bytes(b"\x07\x07\x07")
    with pytest.raises(WeightsError):
        read_blob(tmp_path / "m")
