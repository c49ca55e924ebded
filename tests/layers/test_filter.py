"""Filter: the layers behind it are fitted to the number of images that are let through."""

import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.pycaffe.net import Net as CaffeNet
from caffelite.schema.text import net_from_text
from caffelite.words import TRAIN

TEXT = """
force_backward: true
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 6 dim: 4 } } }
layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 6 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 6 } } }
layer { name: "before" type: "InnerProduct" bottom: "x" top: "a"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "L" type: "Filter" bottom: "a" bottom: "label" bottom: "s" top: "b" top: "c" }
layer { name: "relu" type: "TanH" bottom: "b" top: "b" }
layer { name: "power" type: "Power" bottom: "b" top: "d" power_param { scale: 2 } }
layer { name: "after" type: "InnerProduct" bottom: "d" top: "e"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "e" bottom: "c" top: "loss" }
"""
SMALL = TEXT.replace("dim: 6", "dim: {n}")


def run(net: Net, x: np.ndarray, s: np.ndarray, label: np.ndarray) -> tuple[float, np.ndarray]:
    for name, values in (("x", x), ("s", s), ("label", label)):
        net.blobs[name].data[...] = values
    loss = net.forward()
    net.zero_grad()
    net.backward()
    return loss, net.diff.copy()


@pytest.mark.parametrize("keep", [True, False])
def test_the_net_behind_is_that_of_the_images_that_pass(keep: bool) -> None:
    rng = np.random.default_rng(4)
    net = Net(net_from_text(TEXT, "net.prototxt"), TRAIN, keep=keep)
    for selector in ([1, 0, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 2], [1, 0, 1, 1, 0, 0]):
        x, label = rng.standard_normal((6, 4)), rng.integers(0, 3, 6)
        s = np.array(selector)
        loss, gradient = run(net, x, s, label)
        many = int((s != 0).sum())
        small = Net(net_from_text(SMALL.replace("{n}", str(many)), "net.prototxt"), TRAIN, keep=True)
        small.data[...] = net.data
        expected, expected_gradient = run(small, x[s != 0], np.ones(many), label[s != 0])
        assert loss == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def test_no_image_passes() -> None:
    net = Net(net_from_text(TEXT.split('layer { name: "after"')[0], "net.prototxt"), TRAIN, keep=True)
    net.blobs["x"].data[...] = 1
    net.forward()
    assert net.blobs["d"].shape == (0, 5)
    net.backward()
    assert not net.blobs["x"].diff.any()


def test_caffes_interface_shows_the_shape_of_the_pass(tmp_path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(TEXT)
    net = CaffeNet(str(path), 1)
    net.blobs["s"].data[...] = [0, 1, 1, 0, 0, 0]
    net.forward()
    assert net.blobs["d"].data.shape == (2, 5)
    net.blobs["s"].data[...] = 1
    net.forward()
    assert net.blobs["d"].data.shape == (6, 5)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("dim: 6 }", "dim: 6 dim: 2 }", "one number an image"),
        ('"s" input_param { shape { dim: 6', '"s" input_param { shape { dim: 5', "must have 5 images"),
        ('top: "b" top: "c" }', 'top: "b" }', "need 2 tops"),
    ],
)
def test_what_does_not_fit(old: str, new: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        Net(net_from_text(TEXT.replace(old, new), "net.prototxt"))
