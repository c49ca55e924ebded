"""The tools that hold ONNX files beside those of others, on a small stand-in."""

import sys
from pathlib import Path

import converters
import numpy as np
import pytest
from bench_onnx import PLAIN, TWIN, of, write_all
from inference_nets import Files, prepare
from programs import difference, onnxruntime
from published_onnx import Source

from caffelite.cli import main

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    file = tmp_path / "small.prototxt"
    file.write_text(NET)
    return file


def test_what_a_file_computes_is_held_against_the_net(tmp_path: Path, net: Path) -> None:
    converters.prepare(Source("small", net), tmp_path)
    assert "Softmax" not in (tmp_path / "net.prototxt").read_text()
    out = tmp_path / "net.onnx"
    assert (
        main(["convert", str(tmp_path / "net.prototxt"), "--weights", str(tmp_path / "net.caffemodel"), str(out)]) == 0
    )
    (images,) = np.load(tmp_path / "inputs.npz").values()
    (scores,) = np.load(tmp_path / "outputs.npz").values()
    assert (images.shape, scores.shape) == ((1, 3, 8, 8), (1, 5))
    operators, far = converters.held(out, [images], [scores]).split(" operators, ")
    assert int(operators) == 3 and float(far) < converters.EQUAL
    assert " **differs** by " in converters.held(out, [images], [2 * scores])
    assert converters.held(out, [images], [scores[:, :4]]).endswith(" another shape: 1×5")
    assert " ONNX Runtime: " in converters.held(out, [images[:, :2]], [scores])


def test_a_converter_that_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(converters.CONVERTERS, "caffe-onnx", ("-c", "raise SystemExit('no layer | of that type\\n')"))
    assert converters.convert("caffe-onnx", sys.executable, tmp_path, tmp_path) == "no file: no layer / of that type"


def test_detections_of_another_size_are_apart() -> None:
    boxes = np.array([[[[0, 1, 0.9, 0.1, 0.1, 0.5, 0.5]]]], np.float32)
    assert converters.apart(np.concatenate([boxes, 0 * boxes], 2), boxes) == 0
    assert converters.apart(boxes[..., :5], boxes) == np.inf


def test_the_twin_of_a_file_computes_the_same(tmp_path: Path, net: Path) -> None:
    pytest.importorskip("torch")
    files = Files(tmp_path)
    prepare(net, files, 2)
    operators = write_all(files)
    assert list(operators) == [TWIN, PLAIN] and operators[PLAIN] == 4
    twin, ours = (onnxruntime(of(files, writer), 1, False)(files.images()) for writer in (TWIN, PLAIN))
    assert difference(ours, twin) < 1e-5
