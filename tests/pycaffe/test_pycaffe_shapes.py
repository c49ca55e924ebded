"""Blobs that are given other shapes: inputs, what layers make, parameters."""

from pathlib import Path

import numpy as np
import pytest

import caffelite as caffe
from caffelite.errors import NetError, ShapeError
from caffelite.net import room

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def net(deploy):
    return caffe.Net(deploy, caffe.TEST)


# Inputs.


def test_reshape(net):
    net.blobs["data"].reshape(1, 3, 6, 10)
    assert net.blobs["data"].data.shape == (1, 3, 6, 10)
    net.blobs["data"].data[...] = 3
    assert net.blobs["conv1"].shape == (2, 4, 8, 8)
    net.reshape()
    assert net.blobs["conv1"].shape == (1, 4, 6, 10)
    assert (net.blobs["data"].data == 3).all()
    kernel = net.params["conv1"][0].data
    net.blobs["data"].reshape(*IMAGES.shape)
    out = net.forward(data=IMAGES)
    assert out["prob"].shape == (2, 5)
    assert net.params["conv1"][0].data is kernel or np.shares_memory(net.params["conv1"][0].data, kernel)
    np.testing.assert_array_equal(out["prob"], caffe.Net("deploy.prototxt", caffe.TEST).forward(data=IMAGES)["prob"])


def test_a_shape_that_does_not_fit_leaves_the_net_as_it_was(net):
    net.blobs["data"].reshape(2, 4, 8, 8)
    with pytest.raises(ShapeError, match='layer "conv1"'):
        net.forward()
    net.blobs["data"].reshape(2, 3, 8, 8)
    assert net.forward(data=IMAGES)["prob"].shape == (2, 5)


def test_more_memory_than_there_is(net, monkeypatch):
    monkeypatch.setattr(room, "memory_limit", lambda: (1e6, "this machine"))
    with pytest.raises(NetError, match="take more memory than the 0.001 GB of this machine"):
        net.blobs["data"].reshape(1000, 3, 16, 16)
    net.blobs["data"].reshape(100, 3, 16, 16)
    with pytest.raises(NetError, match="take more memory than the 0.001 GB of this machine"):
        net.forward(end="conv1")
    net.blobs["data"].reshape(*IMAGES.shape)
    net.forward(data=IMAGES)


# Passes over some of the layers. The pooling does not cover all of the image, so that fc needs 8x8.

SLIDING = """
name: "sliding" force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "a" type: "Power" bottom: "conv1" top: "a" power_param { scale: 2 } }
layer { name: "b" type: "Power" bottom: "conv1" top: "b" power_param { scale: 3 } }
layer { name: "both" type: "Concat" bottom: "a" bottom: "b" top: "both" }
layer { name: "flat" type: "Flatten" bottom: "both" top: "flat" }
layer { name: "fc" type: "InnerProduct" bottom: "flat" top: "fc"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
"""


@pytest.fixture
def sliding(tmp_path):
    (tmp_path / "a.prototxt").write_text(SLIDING)
    return caffe.Net(tmp_path / "a.prototxt", caffe.TEST)


def test_a_pass_up_to_a_layer_reshapes_the_layers_that_run(sliding):
    whole = sliding.forward(data=IMAGES[:1])["fc"].copy()
    both = sliding.blobs["both"].data.copy()
    kernel = sliding.params["conv1"][0].data
    large = np.random.default_rng(1).standard_normal((1, 3, 12, 9)).astype(np.float32)
    for _ in range(2):
        sliding.blobs["data"].reshape(*large.shape)
        sliding.blobs["data"].data[...] = large
        assert sliding.forward(end="both")["both"].shape == (1, 8, 12, 9)
        x = sliding.blobs["conv1"].data
        assert x.shape == (1, 4, 12, 9) and x.min() == 0
        np.testing.assert_allclose(sliding.blobs["both"].data, np.concatenate([2 * x, 3 * x], 1))
        # What is behind is as it was.
        np.testing.assert_array_equal(sliding.blobs["fc"].data, whole)
        np.testing.assert_array_equal(sliding.blobs["flat"].data.reshape(both.shape), both)
    assert np.shares_memory(sliding.params["conv1"][0].data, kernel)
    for run in (sliding.forward, sliding.reshape, lambda: sliding.forward(start="flat")):
        with pytest.raises(ShapeError, match='layer "fc"'):
            run()
    assert sliding.forward(end="flat")["flat"].shape == (1, 8 * 12 * 9)
    sliding.blobs["data"].reshape(1, 3, 8, 8)
    np.testing.assert_array_equal(sliding.forward(data=IMAGES[:1])["fc"], whole)


def test_gradients_from_a_layer_on_at_another_size(sliding):
    sliding.blobs["data"].reshape(1, 3, 5, 6)
    sliding.blobs["data"].data[...] = IMAGES[:1, :, :5, :6]
    gradients = {}
    # Two times each: nothing may be left of the pass before.
    for end in ("both", "a", "both", "a", "conv1"):
        sliding.forward(end=end)
        sliding.blobs[end].diff[...] = 1
        gradients.setdefault(end, []).append(sliding.backward(start=end)["data"].copy())
    for end, factor in (("both", 5), ("a", 2)):
        positive = (sliding.forward(end="relu1")["conv1"] > 0).astype(np.float32)
        sliding.blobs["conv1"].diff[...] = factor * positive
        expected = sliding.backward(start="conv1")["data"]
        for gradient in gradients[end]:
            np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)
    assert gradients["conv1"][0].shape == (1, 3, 5, 6)


def test_a_pass_that_ends_before_a_layer_in_place(sliding):
    sliding.blobs["data"].reshape(2, 3, 4, 4)
    out = sliding.forward(end="conv1", data=IMAGES[:, :, :4, :4])["conv1"]
    assert out.shape == (2, 4, 4, 4) and out.min() < 0
    assert sliding.forward(start="relu1", end="a")["a"].shape == (2, 4, 4, 4)


def test_a_pass_that_leaves_out_a_view_of_what_has_another_shape(sliding):
    sliding.blobs["data"].reshape(1, 3, 4, 4)
    sliding.forward(end="both")
    with pytest.raises(
        NetError, match='layer "fc": bottom "flat" has the memory of .* run layer "flat", which makes it'
    ):
        sliding.forward(start="fc")
    sliding.blobs["data"].reshape(1, 3, 8, 8)
    sliding.forward()


# Blobs that layers make.


def test_what_a_layer_makes_is_given_another_shape_until_the_layer_runs(net):
    whole = net.forward(data=IMAGES)["prob"].copy()
    net.blobs["pool1"].reshape(3, 4, 1, 1)
    assert net.blobs["pool1"].data.shape == (3, 4, 1, 1)
    net.blobs["pool1"].data[...] = 1
    assert net.forward(start="fc")["prob"].shape == (3, 5)
    assert net.blobs["conv1"].shape == (2, 4, 8, 8)
    np.testing.assert_array_equal(net.forward()["prob"], whole)
    net.blobs["pool1"].reshape(1, 1)
    with pytest.raises(ShapeError, match='layer "fc"'):
        net.forward(start="fc")
    net.reshape()
    assert net.blobs["pool1"].shape == (2, 4, 1, 1)
    np.testing.assert_array_equal(net.forward()["prob"], whole)


def test_as_many_values_stay(net):
    net.forward(data=IMAGES)
    fc = net.blobs["fc"].data.copy()
    net.blobs["fc"].reshape(1, 10)
    np.testing.assert_array_equal(net.blobs["fc"].data, fc.reshape(1, 10))
    assert net.forward(start="prob")["prob"].shape == (1, 10)
    net.blobs["data"].reshape(4, 3, 8, 4)
    np.testing.assert_array_equal(net.blobs["data"].data.reshape(-1), IMAGES.reshape(-1))
    assert net.forward()["prob"].shape == (4, 5)


def test_what_is_a_view_of_another_blob(sliding):
    fc = sliding.forward(data=IMAGES[:1])["fc"].copy()
    sliding.blobs["flat"].reshape(2, 512)
    sliding.blobs["flat"].data[...] = sliding.blobs["both"].data.reshape(-1)
    np.testing.assert_allclose(sliding.forward(start="fc")["fc"], np.repeat(fc, 2, 0), rtol=1e-5)
    np.testing.assert_array_equal(sliding.forward()["fc"], fc)
    np.testing.assert_array_equal(sliding.blobs["both"].data.reshape(-1), sliding.blobs["flat"].data.reshape(-1))


def test_the_top_of_a_source(run_folder):
    net = caffe.Net("net.prototxt", caffe.TEST)
    shape = net.blobs["data"].shape
    net.blobs["data"].reshape(1, *shape[1:])
    net.forward()
    assert net.blobs["data"].shape == shape


def test_a_net_of_a_solver(run_folder):
    solver = caffe.get_solver("solver.prototxt")
    shape = solver.net.blobs["ip"].shape
    solver.net.blobs["ip"].reshape(1, *shape[1:])
    solver.step(2)
    assert solver.iter == 2 and solver.net.blobs["ip"].shape == shape
    solver.net.params["ip"][0].reshape(1)
    with pytest.raises(ShapeError, match="was given the shape 1,"):
        solver.step(1)


@pytest.mark.parametrize(
    ("blob", "dims", "text"),
    [
        ("data", (0, 3), "0×3 is not a shape"),
        ("fc", (2.5,), "takes whole numbers"),
        ("fc", (2**20, 2**20), "at most 2,147,483,647 values"),
    ],
)
def test_shapes_that_cannot_be(blob, dims, text, net):
    with pytest.raises(ShapeError, match=text):
        net.blobs[blob].reshape(*dims)


# Parameters.


def test_a_parameter_with_as_many_values(net, deploy):
    before = net.forward(data=IMAGES)["prob"].copy()
    weights = net.params["fc"][0]
    weights.reshape(5, 4, 1, 1)
    assert weights.data.shape == weights.diff.shape == (5, 4, 1, 1)
    np.testing.assert_array_equal(net.forward()["prob"], before)
    weights.data[...] = 0
    net.params["fc"][1].data[...] = 0
    np.testing.assert_allclose(net.forward()["prob"], 0.2)
    net.save("a.caffemodel")
    Path("conv.prototxt").write_text(
        Path(deploy)
        .read_text()
        .replace("inner_product_param {", "convolution_param { kernel_size: 1")
        .replace("InnerProduct", "Convolution")
    )
    assert not caffe.Net("conv.prototxt", "a.caffemodel", caffe.TEST).params["fc"][0].data.any()


def test_a_parameter_with_other_values_is_for_another_net(net, deploy):
    net.params["fc"][0].reshape(3, 4)
    net.params["fc"][1].reshape(3)
    net.params["fc"][0].data[...] = 7
    assert not net.params["fc"][0].diff.any()
    net.forward(data=IMAGES, end="pool1")
    with pytest.raises(ShapeError) as error:
        net.forward()
    assert str(error.value) == (
        'layer "fc": its parameter "fc/0" was given the shape 3×4, but the layer computes with 5×4; such a parameter can '
        "be saved, and is for a net whose prototxt has these sizes"
    )
    net.save("a.caffemodel")
    net.save_hdf5("a.h5")
    Path("small.prototxt").write_text(Path(deploy).read_text().replace("num_output: 5", "num_output: 3"))
    for file in ("a.caffemodel", "a.h5"):
        assert (caffe.Net("small.prototxt", file, caffe.TEST).params["fc"][0].data == 7).all()
    net.params["fc"][0].reshape(5, 4)
    net.params["fc"][1].reshape(5)
    assert net.forward()["prob"].shape == (2, 5)
