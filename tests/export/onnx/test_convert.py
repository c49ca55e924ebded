"""A whole net as an ONNX file: names, batch, what it tells of itself; and that a wrong one is not written."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from caffelite.batchnorm.fold import fold
from caffelite.errors import DataError, NetError
from caffelite.export.onnx import files
from caffelite.export.onnx.check import compare
from caffelite.export.onnx.choices import chosen_from
from caffelite.export.onnx.convert import convert
from caffelite.export.onnx.operators import Mapping, mappings
from caffelite.export.onnx.write import write
from caffelite.export.preprocessing import Preprocessing, with_mean
from caffelite.net import Net
from caffelite.schema.blobs import write_blob
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
CONVOLUTION = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 6 kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "norm" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""
PRODUCT = """
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param { num_output: 4
  weight_filler { type: "xavier" } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""


def built(text: str = INPUT + CONVOLUTION + PRODUCT) -> Net:
    net = Net(net_from_text(text, "net.prototxt"), TEST, keep=True, learn=False)
    for layer in net.layers:
        if layer.type == "BatchNorm":
            for blob, value in zip(layer.blobs, (0.2, 3.0, 2.0), strict=True):
                blob.data[...] = value
    net.changed()
    return net


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_a_blob_is_the_tensor_of_its_name(tmp_path: Path):
    net = built()
    converted = convert(fold(net, check=False).net)
    assert operators(converted.model) == ["Conv", "Relu", "Flatten", "Gemm", "Softmax"]
    (x,), (y,) = converted.model.graph.input, converted.model.graph.output
    assert (x.name, y.name) == ("data", "prob")
    assert [dim.dim_param or dim.dim_value for dim in x.type.tensor_type.shape.dim] == ["batch", 3, 8, 8]
    # Held against the net that was not folded.
    differences = write(net, converted, tmp_path / "net.onnx")
    assert [d.blob for d in differences] == ["conv", "ip", "prob"]
    assert max(d.value for d in differences) < 1e-5
    assert list(tmp_path.iterdir()) == [tmp_path / "net.onnx"]


def test_batch_normalization_can_stay():
    net = built()
    converted = convert(net)
    assert "BatchNormalization" in operators(converted.model)
    assert max(d.value for d in compare(net, converted)) < 1e-5


def test_a_batch_of_one_size():
    net = built()
    converted = convert(net, batch=4)
    (x,) = converted.model.graph.input
    assert [dim.dim_value for dim in x.type.tensor_type.shape.dim] == [4, 3, 8, 8]
    assert converted.fixed == "--batch 4"
    assert max(d.value for d in compare(net, converted)) < 1e-5


@pytest.mark.parametrize("opset", [11, 12, 15, 18, 21])
def test_every_opset(opset):
    net = built()
    converted = convert(net, opset)
    assert converted.model.opset_import[0].version == opset
    assert max(d.value for d in compare(net, converted)) < 1e-5


@pytest.mark.parametrize("opset", [10, 22])
def test_an_opset_that_is_not_written(opset):
    with pytest.raises(NetError, match=f"opset {opset} is not one of those that are written, 11 to 21"):
        convert(built(), opset)


def test_a_layer_without_operators(monkeypatch):
    monkeypatch.delitem(mappings(), "Softmax")
    with pytest.raises(NetError, match='layer "prob": Softmax cannot be written to ONNX'):
        convert(built())


def test_an_opset_too_old_for_a_layer(monkeypatch):
    monkeypatch.setitem(mappings(), "Softmax", mappings()["Softmax"]._replace(opset=16))
    with pytest.raises(NetError, match='layer "prob": Softmax takes opset 16, not 13'):
        convert(built())


def test_a_wrong_file_is_not_written(monkeypatch, tmp_path: Path):
    wrong = Mapping(lambda g, node, x: [g.add("Relu", g.add("Neg", x[0]))], 11)
    monkeypatch.setitem(mappings(), "ReLU", wrong)
    net = built()
    with pytest.raises(
        NetError, match=r'"conv" is \S+ in ONNX Runtime and \S+ here at \(\d, \d, \d, \d\), \S+ of'
    ) as told:
        write(net, convert(net), tmp_path / "net.onnx")
    assert "net.onnx is not written" in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_what_onnx_runtime_does_not_take_is_not_written(monkeypatch, tmp_path: Path):
    monkeypatch.setitem(mappings(), "ReLU", Mapping(lambda g, node, x: [g.add("Conv", x[0])], 11))
    net = built()
    with pytest.raises(NetError, match=r"net.onnx: the ONNX checker does not take it"):
        write(net, convert(net), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_too_large_for_one_file(monkeypatch, tmp_path: Path):
    monkeypatch.setattr(files, "LIMIT", 3000)
    net = built()
    assert max(d.value for d in write(net, convert(net), tmp_path / "net.onnx")) < 1e-5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.onnx", "net.onnx.data"]
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (prob,) = session.run(None, {"data": net.blobs["data"].data})
    net.forward()
    np.testing.assert_allclose(prob, net.blobs["prob"].data, atol=1e-5)


@pytest.mark.parametrize("mean", ["104,117,123", "mean.binaryproto", "mean.npy"])
def test_images_go_in(mean, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    large = rng.uniform(100, 130, (3, 10, 12)).astype(np.float32)
    write_blob("mean.binaryproto", large)
    np.save("mean.npy", large)
    preprocessing = with_mean(None, mean, 0.5, "BGR")
    net = built()
    converted = convert(net, preprocessing=preprocessing)
    (image,) = converted.model.graph.input
    assert [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim] == ["batch", 8, 8, 3]
    differences = write(net, converted, tmp_path / "net.onnx")
    assert differences[0].blob == "data" and max(d.value for d in differences) < 1e-5

    images = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
    (prob,) = session.run(None, {"image": images})
    bgr = images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    # The middle of a mean image, as Caffe crops.
    what = np.array([104, 117, 123])[:, None, None] if mean[0] == "1" else large[:, 1:9, 2:10]
    net.reshape_blob("data", bgr.shape)
    net.blobs["data"].data[...] = (bgr - what) * 0.5
    net.forward()
    np.testing.assert_allclose(prob, net.blobs["prob"].data, atol=1e-5)


def test_an_input_called_image_is_another_tensor():
    net = built((INPUT + CONVOLUTION).replace('"data"', '"image"'))
    converted = convert(net, preprocessing=Preprocessing(order="RGB"))
    assert converted.model.graph.input[0].name == "in.image"
    assert operators(converted.model)[:3] == ["Transpose", "Cast", "Conv"]
    assert max(d.value for d in compare(net, converted)) < 1e-5


@pytest.mark.parametrize(
    ("text", "mean", "error", "said"),
    [
        (INPUT + CONVOLUTION, "1,2", DataError, "mean_value is given 2 times for 3 channels"),
        (INPUT + CONVOLUTION, "none.npy", DataError, '"none.npy" is neither numbers with commas between'),
        (
            INPUT + CONVOLUTION,
            "small.npy",
            DataError,
            "the mean small.npy is 3×4×4, which does not cover images of 3×8×8",
        ),
        (INPUT + CONVOLUTION, "four.npy", DataError, "the mean four.npy is 2×3×8×8, which does not cover"),
        (INPUT + CONVOLUTION, "text.npy", DataError, "text.npy: its arrays cannot be read"),
        ((INPUT + CONVOLUTION).replace("dim: 3", "dim: 4"), "1", NetError, "preprocessing is for images of 1 or 3"),
        (INPUT.replace("dim: 8", "") + PRODUCT.replace("conv", "data"), "1", NetError, "one input, of images"),
    ],
)
def test_preprocessing_that_does_not_fit(text, mean, error, said, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("small.npy", np.zeros((3, 4, 4)))
    np.save("four.npy", np.zeros((2, 3, 8, 8)))
    Path("text.npy").write_text("no array")
    with pytest.raises(error, match=said):
        convert(built(text), preprocessing=with_mean(None, mean, None, "BGR"))


def test_a_choice_is_held_against_the_same_values():
    pool = 'layer { name: "%s" type: "Pooling" bottom: "%s" %s pooling_param { kernel_size: 2 stride: 2 } }\n'
    most = 'layer { name: "most" type: "ArgMax" bottom: "ip" top: "most" argmax_param { axis: 1 } }'
    text = INPUT + CONVOLUTION + pool % ("one", "conv", 'top: "one"') + pool % ("two", "one", 'top: "two" top: "mask"')
    net = built(text + PRODUCT.replace('"conv"', '"two"') + most)
    # The input, which both have alike, is not given again.
    assert [version.name for version in chosen_from(net)] == ["one", "ip"]
    assert max(d.value for d in compare(net, convert(net))) < 1e-5


def test_it_tells_of_itself():
    model = convert(built(), metadata={"labels": "a\nb"}).model
    assert {prop.key: prop.value for prop in model.metadata_props} == {"labels": "a\nb"}
    assert (model.producer_name, model.ir_version) == ("caffelite", 7)
