"""Looking into a net: gradients against differences, what covering does, and pictures of known arrays."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.report import looking, pictures
from caffelite.words import TEST

NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 12 dim: 12 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {
  num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param {
  num_output: 5 weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


@pytest.fixture
def net(tmp_path: Path) -> Net:
    path = tmp_path / "net.prototxt"
    path.write_text(NET)
    net = Net(path, TEST, keep=True, learn=False)
    net.blobs["data"].data[...] = np.random.default_rng(1).standard_normal((1, 3, 12, 12))
    net.forward()
    return net


def test_saliency_is_the_gradient_of_the_score(net):
    data, scores = looking.image_input(net), looking.scores_of(net)
    assert (scores.version.name, scores.raw.name, scores.classes, scores.shares) == ("prob", "ip", 5, True)
    before = {name: blob.data.copy() for name, blob in net.blobs.items()}
    measured = looking.saliency(net, data, scores, 2)
    assert measured.shape == (12, 12) and all((blob.data == before[name]).all() for name, blob in net.blobs.items())
    image, step = net.blobs["data"].data, 1e-2
    for y, x in ((0, 0), (5, 7), (11, 3)):
        slopes = []
        for channel in range(3):
            ends = []
            for sign in (1, -1):
                image[...] = before["data"]
                image[0, channel, y, x] += sign * step
                net.forward()
                ends.append(net.blobs["ip"].data[0, 2])
            slopes.append(abs(ends[0] - ends[1]) / (2 * step))
        assert measured[y, x] == pytest.approx(max(slopes), rel=2e-2, abs=1e-4)


def test_covering_what_the_class_comes_from(net):
    data, scores = looking.image_input(net), looking.scores_of(net)
    # Only what is above and to the left of the middle reaches the scores.
    net.params["ip"][0].data.reshape(5, 4, 10, 10)[:, :, 4:] = 0
    net.params["ip"][0].data.reshape(5, 4, 10, 10)[:, :, :, 4:] = 0
    net.changed()
    net.forward()
    (best, value), *_ = looking.top_classes(net, scores)
    image = net.blobs["data"].data.copy()
    passes = []
    falls = looking.occlusion(net, data, scores, best, lambda: passes.append(0))
    assert len(passes) == looking.occlusion_passes(data.shape) == 11 * 11
    assert np.abs(falls[:6, :6]).max() > 1e-3 and not falls[7:].any() and not falls[:, 7:].any()
    # The image and what comes of it are as they were.
    assert (net.blobs["data"].data == image).all() and looking.top_classes(net, scores)[0] == (best, value)


def test_filters_and_maps(net):
    weights = net.params["conv"][0].data
    weights[...] = 0
    weights[1, 0], weights[2, 2] = 1, -1
    assert looking.filters_of(net) == ["conv"] and looking.maps_of(net) == ["conv"]
    red, blue = (looking.filters_picture(net, "conv", reverse) for reverse in (False, True))
    assert red.shape == (7, 7, 3)
    assert red[0, 4].tolist() == [255, 128, 128] and blue[0, 4].tolist() == [128, 128, 255]
    assert red[4, 0].tolist() == [128, 128, 0] and red[3, 0].tolist() == [255] * 3
    net.blobs["conv"].data[0, :, 0, 0] = [0, 1, 2, 1e6]
    assert looking.maps_picture(net, "conv").shape == (21, 21, 3)
    assert looking.maps_picture(net, "prob").shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda net: looking.filters_of(net, ["cnv"]), 'no layer "cnv" has filters; did you mean "conv"?'),
        (lambda net: looking.maps_of(net, ["prbo"]), 'no blob "prbo"; did you mean "prob"?'),
    ],
)
def test_names_that_are_not_there(call, said, net):
    with pytest.raises(NetError, match=said):
        call(net)


def test_nets_that_have_no_image_or_no_classes(tmp_path):
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "i" type: "Input" top: "a" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }')
    net = Net(path, TEST, keep=True, learn=False)
    with pytest.raises(NetError, match='nets that read one and no more; it reads "a" 1×2×4×4'):
        looking.image_input(net)
    with pytest.raises(NetError, match='no output has a number for each class: "a" 1×2×4×4'):
        looking.scores_of(net)


def test_a_png_holds_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3)).astype(np.uint8)
    data = pictures.png(pixels)
    assert struct.unpack(">II", data[16:24]) == (5, 3)
    start = data.index(b"IDAT") + 4
    rows = np.frombuffer(zlib.decompress(data[start:]), np.uint8).reshape(3, 16)
    assert not rows[:, 0].any() and (rows[:, 1:].reshape(3, 5, 3) == pixels).all()
    image = pytest.importorskip("PIL.Image")
    import io

    assert (np.asarray(image.open(io.BytesIO(data))) == pixels).all()


def test_values_that_are_no_numbers_are_black():
    assert pictures.stretched(np.array([np.nan, 1, 2, np.inf])).tolist() == [0, 0, 255, 0]
    assert pictures.stretched(np.array([np.nan])).tolist() == [0] and pictures.stretched(np.ones(2)).tolist() == [0, 0]
    heat = looking.heat_picture(np.array([[1.0, -1, 0, np.nan]]), np.zeros((1, 4, 3), np.uint8))
    assert heat[0].tolist() == [[214, 39, 40], [31, 119, 180], [102] * 3, [102] * 3]
