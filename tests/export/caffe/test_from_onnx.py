"""Models of ONNX's as nets of Caffe's: what each operator becomes, that both compute the same, and what is refused."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from caffelite.errors import DataError, NetError
from caffelite.export.caffe.convert import from_onnx, write
from caffelite.export.caffe.operators import operators
from caffelite.export.onnx.convert import convert
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

NET = """
layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 6 kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "ip" type: "InnerProduct" bottom: "pool" top: "ip" inner_product_param { num_output: 4
  weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
EXPORTED = Path(__file__).parent / "exported.onnx"
RNG = np.random.default_rng(1)
WEIGHTS = RNG.standard_normal((4, 2, 3, 3))
CHANNELS = np.array([0.5, 2.0])


def op(kind: str, inputs: str = "x", outputs: str = "y", **attributes: Any) -> NodeProto:
    """Return a node; an input that is left out is a dash."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), name=f"{kind} {outputs}", **attributes)


def saved(
    folder: Path, nodes: Sequence[NodeProto], values: dict[str, Any] | None = None, shape: Any = (1, 2, 6, 6), opset=13
) -> Path:
    """Write a model of these nodes, from x to y; numbers are float, whole ones int64."""
    arrays = {name: np.asarray(value) for name, value in (values or {}).items()}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(a.astype(np.float32) if a.dtype == float else a, name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


def test_there_and_back(tmp_path: Path) -> None:
    net = Net(net_from_text(NET, "net.prototxt"), TEST, keep=True, learn=False)
    for blob, value in zip(net.params["norm"], (0.2, 3.0, 2.0), strict=True):
        blob.data[...] = value
    net.changed()
    onnx.save(convert(net).model, tmp_path / "net.onnx")
    back, converted = from_onnx(tmp_path / "net.onnx")
    differences = write(back, converted, tmp_path / "back.prototxt", tmp_path / "back.caffemodel")
    assert [d.blob for d in differences][-4:] == ["pool", "ip.flatten", "ip", "prob"]
    read = Net(tmp_path / "back.prototxt", TEST, weights=tmp_path / "back.caffemodel")
    net.blobs["data"].data[...] = read.blobs["data"].data[...] = RNG.standard_normal((1, 3, 8, 8))
    net.forward()
    read.forward()
    np.testing.assert_allclose(read.blobs["prob"].data, net.blobs["prob"].data, atol=1e-6)


def test_a_model_that_pytorch_exported(tmp_path: Path) -> None:
    """With the chains of Shape, Gather, Concat that stand before its views and chunks; and the batch stays open."""
    net, converted = from_onnx(EXPORTED)
    differences = write(net, converted, tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    assert differences[-1].blob == "prob" and max(d.value for d in differences) < 1e-5
    text = (tmp_path / "net.prototxt").read_text().replace("dim: 1", "dim: 3", 1)
    larger = Net(net_from_text(text), TEST, keep=True, weights=tmp_path / "net.caffemodel")
    larger.blobs["image"].data[...] = RNG.standard_normal((3, 3, 16, 16))
    larger.forward()
    session = onnxruntime.InferenceSession(EXPORTED, providers=["CPUExecutionProvider"])
    (prob,) = session.run(None, {"image": larger.blobs["image"].data})
    np.testing.assert_allclose(larger.blobs["prob"].data, prob, atol=1e-6)


MODELS: dict[str, tuple[list[NodeProto], dict[str, Any], str]] = {
    "groups": (
        [op("Conv", "x w b", group=2, strides=[2, 2], dilations=[1, 2])],
        {"w": WEIGHTS[:, :1], "b": WEIGHTS[:, 0, 0, 0]},
        "Convolution",
    ),
    "pads": ([op("Conv", "x w", pads=[0, 1, 2, 1])], {"w": WEIGHTS}, "Convolution"),
    "same": ([op("Conv", "x w", auto_pad="SAME_UPPER", strides=[2, 2])], {"w": WEIGHTS}, "Convolution"),
    "padded": (
        [op("Pad", "x p", "q"), op("Conv", "q w")],
        {"w": WEIGHTS, "p": [0, 0, 1, 1, 0, 0, 1, 1]},
        "Convolution",
    ),
    "transposed": ([op("ConvTranspose", "x w", strides=[2, 2], group=2)], {"w": WEIGHTS[:2]}, "Deconvolution"),
    "norm": (
        [op("BatchNormalization", "x s b m v")],
        {"s": CHANNELS, "b": [0.5, -1.0], "m": [0.1, 0.2], "v": [2.0, 0.7]},
        "BatchNorm Scale",
    ),
    "floor": ([op("MaxPool", kernel_shape=[3, 3], strides=[2, 2])], {}, "Pooling"),
    "mean": ([op("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])], {}, "Pooling"),
    "beyond": ([op("AveragePool", kernel_shape=[7, 7], pads=[0, 0, 1, 1])], {}, "Pooling"),
    "whole": ([op("ReduceMean", axes=[2, 3], keepdims=0)], {}, "Pooling Flatten"),
    "gemm": (
        [op("Flatten", "x", "f"), op("Gemm", "f w b", alpha=0.5, beta=2.0, transB=1)],
        {"w": RNG.standard_normal((3, 72)), "b": [1.0, 2.0, 3.0]},
        "Flatten InnerProduct",
    ),
    "matmul": ([op("MatMul", "x w")], {"w": RNG.standard_normal((6, 3))}, "InnerProduct"),
    "relu6": ([op("Clip", "x l h")], {"l": 0.0, "h": 6.0}, "ReLU6"),
    "clip": ([op("Clip", "x l")], {"l": -0.5}, "Clip"),
    "slope": ([op("PRelu", "x s")], {"s": CHANNELS.reshape(2, 1, 1)}, "PReLU"),
    "leaky": ([op("LeakyRelu", alpha=0.1)], {}, "ReLU"),
    "hard": ([op("HardSigmoid")], {}, "Power Clip"),
    "softmax": ([op("Softmax", axis=-1)], {}, "Softmax"),
    "lrn": ([op("LRN", size=3, alpha=0.5)], {}, "LRN"),
    "from a constant": ([op("Sub", "c x")], {"c": CHANNELS.reshape(2, 1, 1)}, "Power Bias"),
    "by a constant": ([op("Div", "x c")], {"c": CHANNELS.reshape(2, 1, 1)}, "Scale"),
    "by a map": ([op("Mul", "c x")], {"c": RNG.standard_normal((6, 6))}, "Scale"),
    "squeezed": ([op("GlobalAveragePool", "x", "g"), op("Mul", "g x")], {}, "Pooling Flatten Scale"),
    "one channel": (
        [op("Slice", "x s e a", "o"), op("Sub", "x o")],
        {"s": [1], "e": [2], "a": [1]},
        "Slice Tile Eltwise Silence",
    ),
    "largest": ([op("Sigmoid", "x", "s"), op("Max", "x s")], {}, "Sigmoid Eltwise"),
    "shuffled": (
        [op("Shape", "x", "n"), op("Transpose", "x", "t", perm=[0, 2, 1, 3]), op("Reshape", "t n")],
        {},
        "Permute Reshape",
    ),
    "halves": ([op("Split", "x", "a b", axis=1), op("Concat", "b a", axis=1)], {}, "Slice Concat"),
    "repeated": ([op("Resize", "x - k", mode="nearest")], {"k": [1.0, 1.0, 2.0, 3.0]}, "Deconvolution"),
    "corners": (
        [op("Resize", "x - k", mode="linear", coordinate_transformation_mode="align_corners")],
        {"k": [1.0, 1.0, 2.0, 2.0]},
        "Interp",
    ),
    "nothing": ([op("Dropout", "x", "d"), op("Relu", "d", "r"), op("Identity", "r")], {}, "ReLU"),
    "the input": ([op("Identity")], {}, "Power"),
}


@pytest.mark.parametrize("name", MODELS)
def test_operators(name: str, tmp_path: Path) -> None:
    nodes, values, types = MODELS[name]
    net, converted = from_onnx(saved(tmp_path, nodes, values))
    assert [layer.type for layer in net.layers] == ["Input", *types.split()]
    differences = write(net, converted, tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    assert differences[-1].blob == "y" and max(d.value for d in differences) < 1e-5


def test_windows_are_rounded_as_the_model_does(tmp_path: Path) -> None:
    for pads, settings in (([0, 0, 0, 0], "FLOOR"), ([0, 0, 1, 1], "CEIL")):
        net, _ = from_onnx(saved(tmp_path, [op("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=pads)]))
        p = net.layers[-1].param.pooling_param
        assert p.RoundMode.Name(p.round_mode) == settings


def test_what_a_mean_divides_by(tmp_path: Path) -> None:
    for counted, settings in ((0, False), (1, True)):
        node = op("AveragePool", kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=counted)
        net, _ = from_onnx(saved(tmp_path, [node]))
        assert net.layers[-1].param.pooling_param.avg_include_pad is settings


def test_the_batch_that_is_open_is_one_image(tmp_path: Path) -> None:
    path = saved(tmp_path, [op("Relu")], shape=("n", 2, 6, 6))
    assert from_onnx(path)[0].blobs["x"].shape == (1, 2, 6, 6)
    assert from_onnx(path, {"x": (3, 2, 4, 4)})[0].blobs["y"].shape == (3, 2, 4, 4)


PADS = {"p": [0, 0, 1, 1, 0, 0, 1, 1], "w": WEIGHTS, "v": 1.0}


@pytest.mark.parametrize(
    ("nodes", "values", "said"),
    [
        (
            [op("Erf", "x", "e"), op("Relu", "e")],
            {},
            'net.onnx: Erf "Erf e", which makes "e", for Relu "Relu y": no layer of Caffe\'s is known for it',
        ),
        ([op("Conv", "x x")], {}, "its input 1 is no constant, and a layer of Caffe's has its own weights"),
        ([op("Conv", "x w", dilations=[2, 2], pads=[0, 0, 1, 1])], PADS, "it pads 0 before and 1 behind the map"),
        ([op("Pad", "x p v", "q"), op("Conv", "q w")], PADS, "its input is padded with 1, and Convolution pads with 0"),
        ([op("Pad", "x p", "q"), op("MaxPool", "q", kernel_shape=[3, 3])], PADS, "which may be the largest value"),
        ([op("Pad", "x p", "q"), op("Relu", "q")], PADS, 'its input "q" is padded, and it has no padding of its own'),
        ([op("Pad", "x p")], PADS, 'output "y" is a constant or padded'),
        ([op("Pad", "x p", mode="reflect")], PADS, "it pads with other values than a constant"),
        ([op("ConvTranspose", "x w", strides=[2, 2], output_padding=[1, 1])], {"w": WEIGHTS[:2]}, "output_padding"),
        ([op("MaxPool", "x", "y i", kernel_shape=[2, 2])], {}, "it gives the places of the largest values"),
        ([op("MaxPool", kernel_shape=[2, 2], dilations=[2, 2])], {}, "it has dilations, which Pooling has not"),
        ([op("MaxPool", kernel_shape=[2, 2], pads=[0, 0, 1, 1])], {}, "it has 6×6 windows, and Pooling has 5×5"),
        ([op("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 0])], {}, "it has 6×5 windows, and Pooling has 6×6"),
        ([op("ReduceMean", axes=[1])], {}, "it reduces other axes than height and width"),
        ([op("Gemm", "x w", transA=1)], {"w": WEIGHTS[0, 0]}, "ONNX Runtime does not run it"),
        ([op("PRelu", "x s")], {"s": [0.1] * 6}, "its slopes are not one for each channel"),
        ([op("Div", "v x")], PADS, "it divides by what the net computes"),
        ([op("Concat", "x x2", axis=1)], {"x2": WEIGHTS[:1, :1, :1, :1].repeat(6, 2).repeat(6, 3)}, "is a constant"),
        ([op("Slice", "x s e a k")], {"s": [0], "e": [6], "a": [3], "k": [2]}, "it takes every n-th element"),
        ([op("Resize", "x - k", mode="linear")], {"k": [1.0, 1.0, 2.0, 2.0]}, "it is linear with half_pixel"),
        (
            [op("Resize", "x - k")],
            {"k": [1.0, 1.0, 1.5, 1.5]},
            "it does not repeat each value the same number of times",
        ),
        ([op("Cast", to=TensorProto.INT64)], {}, "it makes numbers of another type"),
        ([op("Softmax", domain="my.own")], {}, 'my.own.Softmax "Softmax y"'),
    ],
)
def test_what_is_refused(nodes: list[NodeProto], values: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(NetError) as told:
        from_onnx(saved(tmp_path, nodes, values))
    assert said in str(told.value) and "\n" not in str(told.value)


def test_softmax_along_several_axes(tmp_path: Path) -> None:
    with pytest.raises(NetError, match="it is along several axes, and that of Caffe is along one"):
        from_onnx(saved(tmp_path, [op("Softmax", axis=1)], opset=11))


def test_a_wrong_net_is_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = saved(tmp_path, [op("Sigmoid", "x", "s"), op("Relu", "s")])
    monkeypatch.setitem(operators(), "Sigmoid", lambda g, node: g.add(node, "TanH", g.bottom(node)))
    net, converted = from_onnx(path)
    with pytest.raises(NetError, match=r'back.prototxt is not written, .* "s" is \S+ in ONNX Runtime and \S+ here'):
        write(net, converted, tmp_path / "back.prototxt", tmp_path / "back.caffemodel")
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_are_no_models(tmp_path: Path) -> None:
    good = saved(tmp_path, [op("Conv", "x w")], {"w": WEIGHTS}).read_bytes()
    for content, said in (
        (b"", "it has no nodes"),
        (b"layer { }", "not an ONNX model that can be read"),
        (good[: len(good) // 2], "not an ONNX model"),
        (good.replace(b"Conv y", b"Conv \xff"), "a name in it is not UTF-8"),
    ):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(DataError, match=said):
            from_onnx(tmp_path / "bad.onnx")
    with pytest.raises(DataError, match="nowhere.onnx: No such file"):
        from_onnx(tmp_path / "nowhere.onnx")


def test_weights_in_other_files(tmp_path: Path) -> None:
    model = onnx.load(saved(tmp_path, [op("Conv", "x w")], {"w": WEIGHTS}))
    onnx.save_model(model, tmp_path / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    assert [layer.type for layer in from_onnx(tmp_path / "net.onnx")[0].layers] == ["Input", "Convolution"]
    inside = tmp_path / "inside"
    inside.mkdir()
    model = onnx.load(tmp_path / "net.onnx", load_external_data=False)
    for location, said in (("../w.bin", 'the values of "w" are in a file outside its folder'), ("v.bin", "inside")):
        next(entry for entry in model.graph.initializer[0].external_data if entry.key == "location").value = location
        (inside / "net.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(DataError, match=said):
            from_onnx(inside / "net.onnx")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.graph.initializer[0].dims.append(9), 'net.onnx: .*"?w'),
        (lambda m: m.opset_import[0].__setattr__("version", 6), "opset 6 is older than 7"),
        (lambda m: m.graph.input[0].type.tensor_type.__setattr__("elem_type", 10), 'input "x" is of type float16'),
        (lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].Clear(), 'the shape of input "x" is open'),
        (
            lambda m: m.graph.input[0].type.tensor_type.shape.dim[2].__setattr__("dim_value", 1 << 40),
            "larger than a blob",
        ),
    ],
)
def test_models_that_do_not_fit(change: Any, said: str, tmp_path: Path) -> None:
    path = saved(tmp_path, [op("Conv", "x w")], {"w": WEIGHTS})
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises((DataError, NetError), match=said):
        from_onnx(path)


def test_shapes_of_no_input(tmp_path: Path) -> None:
    with pytest.raises(NetError, match='it has no input "data"'):
        from_onnx(saved(tmp_path, [op("Relu")]), {"data": (1, 2, 3, 3)})
