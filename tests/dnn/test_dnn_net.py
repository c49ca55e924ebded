"""A net read as OpenCV reads it: names, numbers, results."""

import re
from pathlib import Path

import numpy as np
import pytest
from opencv_cases import NETS, SCORES, data, inputs, layer, write

from caffelite import dnn
from caffelite.errors import DataError, Error, NetError, SchemaError, ShapeError, WeightsError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nets")
    return {name: write(name, folder) for name in NETS}


@pytest.fixture
def scores(files):
    net = dnn.readNetFromCaffe(*files["scores"])
    net.setInput(inputs("scores")[0])
    return net


def near(ours, theirs):
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, np.abs(theirs).max()))


# Beside OpenCV.


@pytest.mark.parametrize("name", NETS)
def test_names_and_numbers_are_opencvs(name, files, opencv):
    net = dnn.readNetFromCaffe(*files[name])
    names = tuple(map(str, opencv[f"{name} names"]))
    assert net.getLayerNames() == names
    np.testing.assert_array_equal(net.getUnconnectedOutLayers(), opencv[f"{name} ends"], strict=True)
    assert net.getUnconnectedOutLayersNames() == tuple(names[i - 1] for i in opencv[f"{name} ends"])
    assert [net.getLayerId(one) for one in names] == list(range(1, len(names) + 1))
    for one, shapes in zip(names, opencv[f"{name} blobs"], strict=True):
        assert net.getLayer(one).name == one == net.getLayer(net.getLayerId(one)).name
        assert str([blob.shape for blob in net.getLayer(one).blobs]) == shapes
    assert not net.empty() and net.getLayer(0).preferableTarget == dnn.DNN_TARGET_CPU


@pytest.mark.parametrize("name", NETS)
def test_every_layer_makes_what_it_makes_in_opencv(name, files, opencv):
    net = dnn.readNetFromCaffe(*files[name])
    for number, values in enumerate(inputs(name)):
        net.setInput(values)
        asked = [one for one in net.getLayerNames() if f"{name} {number} {one}" in opencv]
        near(net.forward(), opencv[f"{name} {number} {net.getLayerNames()[-1]}"])
        for one in asked:
            near(net.forward(one), opencv[f"{name} {number} {one}"])
        for one, output in zip(asked, net.forward(asked), strict=True):
            near(output, opencv[f"{name} {number} {one}"])
    net.setInput(inputs(name)[0], "", 0.5, (0.1, 0.2, 0.3))
    near(net.forward(), opencv[f"{name} scaled"])


# Running.


def test_what_is_not_asked_for_is_fused_and_what_was_asked_for_is_kept(files):
    net = dnn.readNetFromCaffe(*files["map"])
    net.setInput(inputs("map")[0])
    last = net.forward()
    chains = lambda: [[node.name for node in unit.nodes] for unit in net._planned.net.plan.units]  # noqa: E731
    assert ["conv1", "bn", "scale", "relu1"] in chains()
    scale = net.forward("scale")
    assert (scale < 0).any() and ["conv1", "bn", "scale"] in chains()
    near(net.forward("relu1"), np.maximum(scale, 0))
    near(net.forward("scale"), scale)  # it keeps what it makes, whatever is asked for next
    near(net.forward(), last)


def test_ways_to_ask(scores):
    prob, pool = scores.forward(), scores.forward("pool")
    np.testing.assert_array_equal(scores.forward(outputName="prob"), prob)
    for names in (["pool", "prob"], ("pool", "prob"), np.array(["pool", "prob"])):
        assert [output.shape for output in scores.forward(names)] == [pool.shape, prob.shape]
    assert isinstance(scores.forward(["pool"]), tuple)
    np.testing.assert_array_equal(scores.forward([])[0], prob)
    np.testing.assert_array_equal(scores.forward(outBlobNames=["pool"])[0], pool)
    c1 = scores.forward("drop")
    (first, second), (only,) = scores.forwardAndRetrieve(["slice", "prob"])
    np.testing.assert_array_equal(np.concatenate([first, second], axis=1), c1)
    np.testing.assert_array_equal(only, prob)
    assert [output.shape for output in scores.forward(np.zeros((1, 5)), "slice")] == [first.shape, second.shape]


def test_names_of_the_file_are_known_too(scores):
    np.testing.assert_array_equal(scores.forward("conv1"), scores.forward("c1"))  # OpenCV calls it by its top
    assert (scores.forward("c1") < 0).any()
    np.testing.assert_array_equal(scores.forward("p"), scores.forward("prob"))  # a blob's name
    assert scores.getLayerId("conv1") == 1 and scores.getLayerId("p") == -1


def test_a_second_layer_of_one_name_has_a_number():
    twice = data(4, 4) + layer("a", "ReLU", "data", "x") + layer("a", "TanH", "x", "y")
    net = dnn.readNetFromCaffe(twice.encode())
    assert net.getLayerNames() == ("a", "a_1")


def test_results_and_inputs_are_copies(scores):
    values = inputs("scores")[0]
    scores.setInput(values)
    first = scores.forward()
    kept = first.copy()
    values[...] = 0
    np.testing.assert_array_equal(scores.forward(), kept)
    scores.setInput(-3 * inputs("scores")[0])
    assert not np.array_equal(scores.forward(), kept)
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("shape", ["input_param { shape { dim: 1 dim: 3 dim: 1 dim: 1 } }", ""])
def test_a_size_in_the_file_that_fits_nothing_is_not_used(shape, files, opencv):
    text = layer("in", "Input", "", "data", shape) + SCORES[SCORES.index("layer") :]
    net = dnn.readNetFromCaffe(text.encode(), Path(files["scores"][1]).read_bytes())
    net.setInput(inputs("scores")[0])
    near(net.forward(), opencv["scores 0 prob"])


def test_several_inputs():
    text = 'layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 1 dim: 2 } shape { dim: 1 dim: 2 } } }'
    net = dnn.readNetFromCaffe((text + layer("sum", "Eltwise", "a b", "sum")).encode())
    net.setInput([[1, 2]], "b")
    with pytest.raises(NetError, match=re.escape('input "a" was not set: setInput(blob, "a") does that')):
        net.forward()
    net.setInput([[10, 20]])
    np.testing.assert_array_equal(net.forward(), [[11, 22]])
    assert net.getLayer(0).outputNameToIndex("b") == 1 and net.getLayer(0).outputNameToIndex("c") == -1
    with pytest.raises(ShapeError, match="1 shapes are given for 2 inputs"):
        net.getFLOPS((1, 2))


# Parameters.


def test_parameters_can_be_read_and_set(scores):
    before = scores.forward("c1")
    weights = scores.getParam("c1")
    scores.setParam("c1", 0, weights * 2)
    scores.setParam(1, 1, scores.getParam(1, 1) * 2)
    near(scores.forward("c1"), before * 2)
    # The bias may be left out, as scripts for colourisation do.
    bias = scores.getParam("c1", 1).reshape(-1, 1, 1)
    scores.getLayer("c1").blobs = [weights * 2]
    near(scores.forward("c1"), before * 2 - bias)


def test_weights_that_are_set_one_by_one(files):
    text, model = (Path(path).read_bytes() for path in files["scores"])
    net = dnn.readNetFromCaffe(text)
    net.setInput(inputs("scores")[0])
    with pytest.raises(
        WeightsError, match='layer "conv1" has no weights: the model has none for it, and none were set'
    ):
        net.forward()
    whole = dnn.readNetFromCaffe(bytearray(text), np.frombuffer(model, np.uint8))
    whole.setInput(inputs("scores")[0])
    for name in ("c1", "fc"):
        net.getLayer(name).blobs = whole.getLayer(name).blobs
    np.testing.assert_array_equal(net.forward(), whole.forward())


# What it would take.


def test_shapes_work_and_memory(scores):
    ids, bottoms, tops = scores.getLayersShapes((2, 3, 8, 6))
    np.testing.assert_array_equal(ids, range(8))
    assert [[tuple(shape) for shape in shapes] for shapes in tops][4:] == [
        [(2, 2, 8, 6)] * 2,
        [(2, 2, 4, 3)],
        [(2, 5)],
        [(2, 5)],
    ]
    assert tuple(bottoms[0][0]) == (2, 3, 8, 6) and bottoms[5][0].dtype == np.int32
    convolution, product = 2 * 48 * 4 * 27, 2 * 96 * 5
    assert scores.getFLOPS(1, (1, 3, 8, 6)) == convolution
    assert scores.getFLOPS([(1, 3, 8, 6)]) == convolution + product
    assert scores.getMemoryConsumption("fc", (1, 3, 8, 6)) == (4 * (96 * 5 + 5), 4 * 5)
    weights, blobs = scores.getMemoryConsumption((1, 3, 8, 6))
    assert weights == 4 * (4 * 27 + 4 + 96 * 5 + 5)
    assert blobs == 4 * sum(int(np.prod(shape)) for shapes in tops for shape in shapes) // 2


def test_times_are_told(scores):
    scores.forward()
    total, layers = scores.getPerfProfile()
    assert isinstance(total, int) and total > 0
    assert len(layers) == len(scores.getLayerNames()) and layers.sum() == pytest.approx(total)


def test_types_and_graph(scores, tmp_path):
    assert scores.getLayersCount("ReLU") == 1
    assert scores.getLayerTypes()[:2] == ("Convolution", "Dropout")
    scores.dumpToFile(tmp_path / "net.dot")
    text = (tmp_path / "net.dot").read_text()
    assert text == scores.dump() and text.startswith("digraph G {")
    assert '"c1" -> "relu1"' in text and '"_input" -> "c1"' in text


# Choices and errors.


def test_only_the_cpu_is_there(scores):
    scores.setPreferableBackend(dnn.DNN_BACKEND_OPENCV)
    scores.setPreferableTarget(dnn.DNN_TARGET_CPU)
    scores.enableFusion(False)
    scores.enableWinograd(False)
    with pytest.warns(UserWarning, match="backend 5 is not there: caffelite.dnn runs on the CPU"):
        scores.setPreferableBackend(dnn.DNN_BACKEND_CUDA)
    with pytest.warns(UserWarning, match="target 1 is not there"):
        scores.setPreferableTarget(dnn.DNN_TARGET_OPENCL)


def test_nets_are_found_in_either_order(files):
    prototxt, model = files["map"]
    text, weights = Path(prototxt).read_bytes(), Path(model).read_bytes()
    for net in (dnn.readNet(prototxt, model), dnn.readNet(model, prototxt), dnn.readNet("caffe", weights, text)):
        assert net.getUnconnectedOutLayersNames() == ("map",)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda net: net.forward("fcc"), 'there is no layer "fcc"; did you mean "fc"?'),
        (lambda net: net.forward("_input"), "layer number 0 is the input"),
        (lambda net: net.getLayer(99), "there is no layer number 99: numbers go from 0, the input, to 7"),
        (lambda net: net.setInput(np.zeros(2), "dat"), 'there is no input "dat"; did you mean "data"?'),
        (lambda net: net.setInput(np.zeros(2), mean=1), "a mean is for up to 4 channels, and this blob is 2"),
        (lambda net: net.getParam("relu1"), 'layer "relu1" has 0 parameters, so none of number 0'),
        (lambda net: net.setParam("c1", 0, np.zeros(3)), 'layer "c1": blob 0 has shape 4×3×3×3, which 3 does not fit'),
        (lambda net: setattr(net.getLayer("pool"), "blobs", [1]), 'layer "pool" has 0 blobs, not 1'),
        (lambda net: dnn.readNet("a.onnx"), "a.onnx: caffelite.dnn reads Caffe's nets, a .prototxt and a .caffemodel"),
        (lambda net: dnn.readNet("a.pb", "b.pbtxt", "tensorflow"), 'files of "tensorflow": caffelite.dnn reads'),
        (lambda net: dnn.readNetFromCaffe(b"\xff"), "prototxt: byte 0 of the buffer is not UTF-8"),
        (lambda net: dnn.readNetFromCaffe(SCORES.encode(), b"\x01"), "caffemodel: "),
        (lambda net: dnn.readNetFromCaffe(np.zeros(2)), "a file's bytes are an array of uint8, not of float64"),
        (lambda net: dnn.readNetFromCaffe(b'name: "n"'), "prototxt: the net has no input to set"),
    ],
)
def test_what_is_not_there_is_an_error(call, said, scores):
    with pytest.raises((NetError, ShapeError, SchemaError, WeightsError, DataError), match="^" + re.escape(said)):
        call(scores)


def test_a_net_with_a_layer_for_data_is_refused():
    text = layer("mnist", "Data", "", "data label", 'data_param { source: "x" batch_size: 1 }')
    with pytest.raises(NetError, match='layer "mnist": it brings the net its data, and here setInput does'):
        dnn.readNetFromCaffe(text.encode())


def test_an_input_that_does_not_fit_leaves_the_net_as_it_was(files):
    net = dnn.readNetFromCaffe(*files["scores"])
    net.setInput(np.zeros((1, 2, 8, 6), np.float32))
    with pytest.raises(ShapeError, match='for an input of 1×2×8×6 weights: layer "conv1": blob 0 has shape 4×3×3×3'):
        net.forward()
    net.setInput(inputs("scores")[0])
    before = net.forward()
    net.setInput(np.zeros((1, 3, 4, 6), np.float32))
    with pytest.raises(ShapeError, match='layer "fc"'):
        net.forward()
    net.setInput(inputs("scores")[0])
    np.testing.assert_array_equal(net.forward(), before)


def test_constants_are_opencvs(opencv):
    theirs = dict(zip(map(str, opencv["constants"]), map(int, opencv["numbers"]), strict=True))
    assert {name: getattr(dnn, name) for name in theirs} == theirs


def test_a_name_that_only_opencv_has_is_an_attribute_error():
    with pytest.raises(AttributeError, match="caffelite.dnn has no readNetFromONNX; OpenCV's own cv2.dnn has what is"):
        dnn.readNetFromONNX  # noqa: B018
    with pytest.raises(AttributeError, match='did you mean "blobFromImage"'):
        dnn.blobFromImag  # noqa: B018
    assert issubclass(NetError, Error)
