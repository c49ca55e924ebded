"""What tools/bench_infer.py does to the nets that it takes, and what it tells of programs."""

from pathlib import Path

import bench_infer
import numpy as np
import pytest
from inference_nets import Files, join, last_layers, prepare

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "scores" type: "Convolution" bottom: "conv" top: "scores" convolution_param { num_output: 5 kernel_size: 1 } }
layer { name: "prob" type: "Softmax" bottom: "scores" top: "prob" }
layer { name: "boxes" type: "Convolution" bottom: "conv" top: "boxes" convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: "places" type: "Pooling" bottom: "conv" top: "places" pooling_param { pool: MAX kernel_size: 2 } }
"""


def test_a_net_ends_with_the_blobs_that_are_joined() -> None:
    document = net_from_text(NET)
    join(document, ("boxes", "prob"))
    net = Net(document, TEST)
    assert [layer.name for layer in net.layers] == ["data", "conv", "scores", "prob", "boxes", "result"]
    assert net.outputs == ["result"] and net.blobs["result"].shape == (1, 7, 6, 6)
    found = {name: [layer.name for layer in layers] for name, layers in last_layers(net.graph)}
    assert found == {"scores": ["scores"], "boxes": ["boxes"]}


def test_images_have_the_size_that_a_file_leaves_open(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    source, files = tmp_path / "net.prototxt", Files(tmp_path / "written")
    source.write_text(NET)
    files.folder.mkdir()
    prepare(source, files, 2, (9, 8), ("boxes", "prob"))
    assert files.images().shape == (2, 3, 9, 8)
    net = Net(files.prototxt, TEST, weights=files.weights)
    net.blobs["data"].data[...] = files.images()
    net.forward()
    boxes = net.blobs["result"].data[:, :2]
    assert 0.2 < np.std(boxes) < 5


def test_the_faster_rival_is_the_measure() -> None:
    ratios = {"a": (1.0, 2.0, 3.0), "b": (1.0, 4.0, 0.5)}
    programs = ("caffelite", "ONNX Runtime", "OpenVINO")
    rows = [
        {"net": net, "program": program, "ratio": ratio}
        for net, found in ratios.items()
        for program, ratio in zip(programs, found, strict=True)
    ]
    assert bench_infer.beside_rivals(rows) == {"a": 2.0, "b": 0.5, "geometric mean": pytest.approx(1.0)}
    assert bench_infer.beside_rivals(rows[:1]) == {}
