from pathlib import Path

import h5py
import numpy as np
import pytest

from caffelite.errors import WeightsError
from caffelite.schema.blobs import read_blob, write_blob
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


def test_mean_file(tmp_path: Path) -> None:
    mean = read_blob(CAFFE / "mean.binaryproto")
    assert mean.shape == (1, 3, 16, 16)
    write_blob(tmp_path / "m", mean[0])
    assert BlobProto.FromString((tmp_path / "m").read_bytes()).channels == 3
    np.testing.assert_array_equal(read_blob(tmp_path / "m"), mean)
    (tmp_path / "m").write_bytes(b"\x07\x07\x07")
    with pytest.raises(WeightsError):
        read_blob(tmp_path / "m")
