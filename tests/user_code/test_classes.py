"""What a layer written in Python, and who looks at it from outside, sees of it: Caffe's names."""

from pathlib import Path

import numpy as np
import pytest
from python_nets import inputs, net_of, python

import caffelite as caffe
from caffelite.errors import NetError
from caffelite.words import TEST, TRAIN


def test_a_blob_in_place_keeps_its_shape() -> None:
    text = inputs((3, 4)) + 'layer { name: "p" type: "Power" bottom: "x0" top: "y" }'
    with pytest.raises(NetError, match='ShapeError: bottom "y" cannot be reshaped by the layer'):
        net_of(text + python("NoShape", "y", "y", 'param_str: "(4, 3)"') + "}")


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_it_knows_the_phase(phase: int) -> None:
    net = net_of(python("Phase", "", "y") + "}", phase)
    net.forward()
    assert net.blobs["y"].data == phase and net.blobs["y"].shape == ()
    # Older versions of Caffe have the name.
    told = net.layers[0].user.phase  # type: ignore[attr-defined]
    assert told == phase and str(told) == ("TRAIN", "TEST")[phase]


FILE = "force_backward: true " + inputs((3, 2, 4)) + python("Scaled", "x0", "y", 'param_str: "0.5"') + "}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a.prototxt").write_text(FILE)
    return tmp_path / "a.prototxt"


def test_the_python_interface_shows_the_object_and_its_parameters(file: Path, tmp_path: Path) -> None:
    net = caffe.Net(file, caffe.TRAIN, allow_python=True)
    user = net.layers[1]
    assert (type(user).__name__, user.type, user.name, user.param_str) == ("Scaled", "Python", "Scaled", "0.5")
    assert isinstance(user, caffe.Layer) and isinstance(net.layers[0], caffe.Layer)
    assert net.layer_dict["Scaled"] is user
    assert user.blobs[0].data.tolist() == [2, 2]
    net.params["Scaled"][0].data[...] = [1, 3]
    out = net.forward(x0=np.ones((3, 2, 4)))
    assert out["y"][0, :, 0].tolist() == [1.5, 3.5]
    net.blobs["y"].diff[...] = 1
    net.backward()
    assert user.blobs[0].diff.tolist() == net.params["Scaled"][0].diff.tolist() == [12, 12]
    net.save(tmp_path / "a.caffemodel")
    other = caffe.Net(file, caffe.TEST, weights=tmp_path / "a.caffemodel", allow_python=True)
    assert other.layers[1].blobs[0].data.tolist() == [1, 3]
    third = caffe.Net(file, caffe.TEST, allow_python=True)
    third.share_with(net)
    user.blobs[0].data[...] = 7
    assert third.layers[1].blobs[0].data.tolist() == third.params["Scaled"][0].data.tolist() == [7, 7]
    net.blobs["x0"].reshape(5, 2, 1)
    assert net.forward()["y"].shape == (5, 2, 1)
    assert user.blobs[0].data.tolist() == [7, 7]
