"""A net as pycaffe shows it: names, live views, partial passes, shapes."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import caffelite as caffe
from caffelite.errors import NetError, ShapeError, WeightsError

IMAGES = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)


@pytest.fixture
def net(deploy):
    return caffe.Net(deploy, caffe.TEST)


def test_names(net):
    assert (net.inputs, net.outputs, net.name) == (["data"], ["prob"], "deploy")
    assert list(net._layer_names) == ["data", "conv1", "relu1", "pool1", "fc", "prob"]
    assert [layer.type for layer in net.layers] == [
        *("Input", "Convolution", "ReLU", "Pooling", "InnerProduct", "Softmax")
    ]
    assert list(net.blobs) == net._blob_names == ["data", "conv1", "pool1", "fc", "prob"]
    assert list(net.params) == ["conv1", "fc"]
    assert isinstance(net.blobs, OrderedDict) and isinstance(net.params, OrderedDict)
    assert net.top_names["relu1"] == net.bottom_names["relu1"] == ["conv1"]
    assert net.bottom_names["data"] == []
    assert net.layer_dict["fc"].type == "InnerProduct"
    assert net.blob_loss_weights["prob"] == 0
    assert [blob.shape for blob in net.params["conv1"]] == [(4, 3, 3, 3), (4,)]
    assert net.layers[1].blobs[0].data is net.params["conv1"][0].data
    assert len(net.layers[2].blobs) == 0
    net.name = "finetuned"  # as py-faster-rcnn's test_net.py does
    with pytest.raises(NetError, match='net "finetuned" has no blob'):
        net.forward(blobs=["none"])


def test_numbers_of_blobs(net):
    assert (net._inputs, net._outputs) == ([0], [4])
    assert [net._top_ids(i) for i in range(6)] == [[0], [1], [1], [2], [3], [4]]
    assert [net._bottom_ids(i) for i in range(6)] == [[], [0], [1], [1], [2], [3]]
    assert net._blobs == list(net.blobs.values())
    assert net._blob_loss_weights == [0, 0, 0, 0, 0]


def test_a_blob_has_its_sizes(net):
    blob = net.blobs["data"]
    assert (blob.num, blob.channels, blob.height, blob.width, blob.count) == (2, 3, 8, 8, 384)
    assert list(blob.shape) == [2, 3, 8, 8]
    fc = net.blobs["fc"]
    assert (fc.num, fc.channels, fc.height, fc.width) == (2, 5, 1, 1)
    with pytest.raises(AttributeError):
        blob.data = IMAGES


def test_forward_takes_and_gives_arrays(net):
    out = net.forward(data=IMAGES)
    assert list(out) == ["prob"]
    np.testing.assert_allclose(out["prob"].sum(1), 1, rtol=1e-5)
    net.blobs["data"].data[...] = IMAGES
    again = net.forward(["fc"])
    assert list(again) == ["prob", "fc"]
    np.testing.assert_array_equal(out["prob"], again["prob"])
    assert again["prob"] is net.blobs["prob"].data or np.shares_memory(again["prob"], net.blobs["prob"].data)


def test_views_are_live(net):
    net.forward(data=IMAGES)
    before = net.blobs["prob"].data.copy()
    net.params["fc"][0].data[...] = 0
    net.params["fc"][1].data[:] = np.log([1, 2, 3, 4, 5])
    net.forward()
    np.testing.assert_allclose(net.blobs["prob"].data[0], np.arange(1, 6) / 15, rtol=1e-5)
    assert not np.array_equal(before, net.blobs["prob"].data)


def test_every_blob_is_kept(net):
    net.forward(data=IMAGES)
    conv = net.blobs["conv1"].data
    np.testing.assert_allclose(conv.mean((2, 3)), net.blobs["pool1"].data[:, :, 0, 0], rtol=1e-4, atol=1e-6)


def test_a_part_of_the_layers_runs_as_in_caffe(net):
    net.forward(data=IMAGES)
    whole = net.blobs["prob"].data.copy()
    # conv1 is written in place by relu1: a pass that ends before it leaves negative values.
    out = net.forward(end="conv1")
    assert list(out) == ["conv1"]
    assert out["conv1"].min() < 0
    net.forward(start="relu1")
    np.testing.assert_array_equal(net.blobs["prob"].data, whole)
    net.blobs["conv1"].data[...] = -1
    net.forward(start="relu1")
    assert net.blobs["pool1"].data.max() == 0
    net.blobs["fc"].data[...] = 0
    np.testing.assert_allclose(net.forward(start="prob")["prob"], 0.2)


def test_an_input_that_is_changed_in_place(tmp_path):
    file = tmp_path / "a.prototxt"
    file.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
        'layer { name: "p" type: "Power" bottom: "x" top: "x" power_param { scale: 2 } }'
    )
    net = caffe.Net(str(file), caffe.TEST)
    np.testing.assert_array_equal(net.forward(x=np.ones(2))["x"], 2)
    np.testing.assert_array_equal(net.forward()["x"], 4)


def test_backward_gives_gradients(deploy):
    Path(deploy).write_text("force_backward: true\n" + Path(deploy).read_text())
    net = caffe.Net(deploy, caffe.TEST)
    net.forward(data=IMAGES)
    top = np.zeros((2, 5), np.float32)
    top[:, 1] = 1
    found = net.backward(prob=top)
    assert list(found) == ["data"]
    gradient = found["data"].copy()
    # The slope along the gradient, by differences.
    step = 1e-2 * gradient / np.abs(gradient).max()
    high = net.forward(data=IMAGES + step)["prob"][:, 1].sum(dtype=np.float64)
    low = net.forward(data=IMAGES - step)["prob"][:, 1].sum(dtype=np.float64)
    assert (high - low) / 2 == pytest.approx(float((gradient * step).sum()), rel=2e-2)
    assert np.abs(net.params["fc"][0].diff).max() > 0
    net.clear_param_diffs()
    assert np.abs(net.params["fc"][0].diff).max() == 0
    net.forward(data=IMAGES)
    net.blobs["fc"].diff[...] = 1
    part = net.backward(["conv1"], start="fc", end="pool1")
    assert list(part) == ["conv1"]
    expected = net.params["fc"][0].data.sum(0) / 64
    np.testing.assert_allclose(part["conv1"][0, :, 0, 0], expected, rtol=1e-4)


def test_backward_where_nothing_learns_says_so(net):
    net.forward(data=IMAGES)
    with pytest.warns(UserWarning, match='net "deploy" computes no gradients.*force_backward'):
        assert not net.backward()["data"].any()


def test_gradients_of_parameters_are_added_up(run_folder):
    net = caffe.Net("net.prototxt", caffe.TRAIN)
    net.forward()
    net.backward()
    once = net.params["ip"][0].diff.copy()
    net.backward()
    np.testing.assert_allclose(net.params["ip"][0].diff, 2 * once, rtol=1e-5, atol=1e-7)
    assert not net.params["bn1"][0].diff.any()


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda net: net.forward(dta=IMAGES),
            NetError,
            '"dta" is no input of this net; its inputs are "data"',
        ),
        (
            lambda net: net.forward(data=IMAGES[:1]),
            ShapeError,
            "takes 2 in a batch, but values of shape 1×3×8×8",
        ),
        (
            lambda net: net.forward(data=IMAGES[..., 1:]),
            ShapeError,
            "is of shape 2×3×8×8, but values of shape",
        ),
        (lambda net: net.forward(end="conv"), NetError, 'has no layer "conv"; did you mean "conv1"?'),
        (lambda net: net.forward(["fc1"]), NetError, 'has no blob "fc1"; did you mean "fc"?'),
        (lambda net: net.backward(fc=1), NetError, '"fc" is no output of this net; its outputs are "prob"'),
        (lambda net: net.forward_all(), ShapeError, "not none"),
        (lambda net: net.forward_backward_all(fc=1), NetError, '"fc" is neither an input nor an output'),
    ],
)
def test_what_does_not_fit_is_said(call, error, text, net):
    with pytest.raises(error) as raised:
        call(net)
    assert text in str(raised.value)


def test_forward_all_takes_any_number(net):
    images = np.concatenate([IMAGES, 2 * IMAGES, 3 * IMAGES])[:5]
    out = net.forward_all(["fc"], data=images)
    assert out["prob"].shape == out["fc"].shape == (5, 5)
    np.testing.assert_array_equal(out["prob"][2:4], net.forward(data=images[2:4])["prob"])


def test_forward_backward_all_takes_any_number(deploy):
    Path(deploy).write_text(f"force_backward: true {Path(deploy).read_text()}")
    net = caffe.Net(deploy, caffe.TEST)
    images = np.concatenate([IMAGES, 2 * IMAGES])[:3]
    gradients = np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    blobs, diffs = net.forward_backward_all(["fc"], ["conv1"], data=images, prob=gradients)
    assert [array.shape for array in (blobs["prob"], blobs["fc"], diffs["data"])] == [(3, 5), (3, 5), (3, 3, 8, 8)]
    assert diffs["conv1"].shape == (3, 4, 8, 8)
    np.testing.assert_array_equal(blobs["prob"][:2], net.forward(data=images[:2])["prob"])
    np.testing.assert_array_equal(diffs["data"][:2], net.backward(prob=gradients[:2])["data"])
    # What the blobs hold, where nothing is given.
    blobs, diffs = net.forward_backward_all()
    assert blobs["prob"].shape == (2, 5) and diffs["data"].shape == (2, 3, 8, 8)
    assert [batch["data"].shape[0] for batch in net._batch({"data": images})] == [2, 2]


def test_weights_in_both_orders_of_arguments(run_folder):
    one = caffe.Net("net.prototxt", "snap_iter_12.caffemodel", caffe.TEST)
    other = caffe.Net("net.prototxt", caffe.TEST, weights="snap_iter_12.caffemodel")
    third = caffe.Net(network_file="net.prototxt", phase=caffe.TEST)
    third.copy_from("snap_iter_12.caffemodel")
    # As MMdnn does.
    fourth = caffe.Net(b"net.prototxt", b"snap_iter_12.caffemodel", caffe.TEST)
    assert fourth._output_list == fourth.outputs and fourth._input_list == []
    outputs = [{name: float(value) for name, value in net.forward().items()} for net in (one, other, third, fourth)]
    assert all(values == outputs[0] for values in outputs)
    # From the log of BVLC Caffe: its first batch.
    assert outputs[0] == pytest.approx({"accuracy": 1, "loss": 1.08282e-06}, rel=0.03)


def test_weights_for_another_net(run_folder):
    net = Path("net.prototxt")
    net.write_text(net.read_text().replace('name: "ip"', 'name: "fc"'))
    made = caffe.Net("net.prototxt", caffe.TEST)
    done = made.copy_from("snap_iter_12.caffemodel", layer_map={"ip": "fc"})
    assert "fc" in done.taken and not done.untrained and "taken from ip" in done.table()
    net.write_text(net.read_text().replace("num_output: 4", "num_output: 5"))
    made = caffe.Net("net.prototxt", caffe.TEST)
    assert made.copy_from("snap_iter_12.caffemodel", layer_map={"ip": "fc"}, skip_mismatch=True).untrained == ["fc"]


@pytest.mark.parametrize("phase", [None, 2, "TEST.caffemodel"])
def test_a_phase_is_needed(phase, deploy):
    if phase == "TEST.caffemodel":
        with pytest.raises(WeightsError, match="TEST.caffemodel"):
            caffe.Net(deploy, phase, caffe.TEST)
    else:
        for arguments in ([phase], ["a.caffemodel", phase]):
            with pytest.raises(NetError, match="the phase of a net is"):
                caffe.Net(deploy, *arguments)


def test_level_and_stages(tmp_path):
    file = tmp_path / "a.prototxt"
    file.write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }'
        'layer { name: "a" type: "ReLU" bottom: "x" top: "a" include { stage: "more" } }'
        'layer { name: "b" type: "ReLU" bottom: "x" top: "b" include { min_level: 2 } }'
    )
    assert caffe.Net(str(file), caffe.TEST, stages=["more"])._layer_names == ["x", "a"]
    assert caffe.Net(str(file), caffe.TEST, level=2)._layer_names == ["x", "b"]


def test_saved_weights_come_back(net, deploy):
    net.params["fc"][0].data[...] = np.arange(20).reshape(5, 4)
    net.save("a.caffemodel")
    other = caffe.Net(deploy, "a.caffemodel", caffe.TEST)
    for name, blobs in net.params.items():
        for blob, read in zip(blobs, other.params[name], strict=True):
            np.testing.assert_array_equal(blob.data, read.data)
    net.save_hdf5("a.weights")
    other.params["fc"][0].data[...] = 0
    other.load_hdf5("a.weights")
    assert other.params["fc"][0].data.sum() == 190


def test_sharing_parameters(net, deploy):
    Path("other.prototxt").write_text(Path(deploy).read_text().replace('name: "fc"', 'name: "mine"'))
    other = caffe.Net("other.prototxt", caffe.TEST)
    mine = other.params["mine"][0]
    mine.data[...] = 7
    other.blobs["data"].reshape(1, 3, 8, 8)
    other.forward(data=IMAGES[:1])
    other.share_with(net)
    net.params["conv1"][0].data[...] = 5
    assert (other.params["conv1"][0].data == 5).all()
    assert (mine.data == 7).all() and not (net.params["fc"][0].data == 7).any()
    assert other.blobs["data"].shape == (1, 3, 8, 8)
    assert (other.blobs["data"].data == IMAGES[:1]).all()
    assert other.forward()["prob"].shape == (1, 5)
    other.share_with(net)


def test_hooks_see_every_layer(net):
    seen = []
    net.before_forward(lambda i: seen.append(("before", i)))
    net.after_forward(lambda i: seen.append(("after", i)))
    net.forward(start="conv1", end="relu1")
    assert seen == [("before", 1), ("after", 1), ("before", 2), ("after", 2)]
    seen.clear()
    net.before_backward(lambda i: seen.append(i))
    net.after_backward(lambda i: seen.append(-i))
    with pytest.warns(UserWarning):
        net.backward(start="pool1", end="relu1")
    assert seen == [3, -3, 2, -2]
