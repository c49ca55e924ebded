"""The tools that run published nets and read published weights, on small stand-ins."""

from pathlib import Path

import mtcnn
import numpy as np
import published_nets as nets
import published_weights as weights
import pytest
from published import Model, Published, find

from caffelite.errors import Error
from caffelite.net import Net
from caffelite.words import TEST

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
CONVOLUTION = (
    'layer { name: "c" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }\n'
    'layer { name: "b" type: "BatchNorm" bottom: "c" top: "c" }\n'
)
SPATIAL = (
    'layer { name: "d" type: "Python" bottom: "c" top: "d" '
    'python_param { module: "spatial_dropout" layer: "SpatialDropoutLayer" } }\n'
)


@pytest.mark.parametrize("checkout", ["someone/nets", "someone+nets", "nets"])
def test_a_checkout_is_found_whatever_it_is_called(tmp_path, checkout) -> None:
    file = tmp_path / checkout / "a" / "net.prototxt"
    file.parent.mkdir(parents=True)
    file.write_text(INPUT)
    assert find(tmp_path, "someone/nets", "a/net.prototxt") == file
    assert find(tmp_path, "someone/nets", "a/other.prototxt") is None


def test_parameters_without_fillers_come_alive(tmp_path) -> None:
    net = Net(write(tmp_path, INPUT + CONVOLUTION), TEST)
    nets.enliven(net, 1)
    assert net.params["c"][0].data.std() == pytest.approx((2 / 27) ** 0.5, rel=0.3)
    assert [float(blob.data.max()) for blob in net.params["b"]] == [0, 1, 1]


def test_what_a_filler_set_stays(tmp_path) -> None:
    text = INPUT + CONVOLUTION.replace("kernel_size", 'weight_filler { type: "constant" value: 2 } kernel_size')
    net = Net(write(tmp_path, text), TEST)
    nets.enliven(net, 1)
    assert (net.params["c"][0].data == 2).all()


def test_a_net_is_run(tmp_path) -> None:
    row = nets.run(published((0, 4, 6, 6)), write(tmp_path, INPUT + CONVOLUTION + SPATIAL), None, False)
    assert row["trouble"] == ""
    assert (row["layers"], row["parameters"]) == (4, 4 * 27 + 4 + 9)
    assert (row["input"], row["output"]) == ("2×3×8×8", "2×4×6×6")
    line = list(nets.table([row]))[2]
    assert line.startswith("| small | someone/nets | 4 | 121 | 2×3×8×8 | 2×4×6×6 | ")


def test_another_batch(tmp_path) -> None:
    row = nets.run(published((0, 4, 6, 6)), write(tmp_path, INPUT + CONVOLUTION), 1, False)
    assert (row["trouble"], row["input"]) == ("", "1×3×8×8")


@pytest.mark.parametrize(
    ("text", "output", "trouble"),
    [
        (CONVOLUTION, (0, 5, 6, 6), "c has shape 2×4×6×6, expected 2×5×6×6"),
        (
            'layer { name: "p" type: "Power" bottom: "data" top: "p" power_param { scale: 0 } }',
            (0, 3),
            "p is 0.0 everywhere",
        ),
        ('layer { name: "l" type: "Log" bottom: "data" top: "l" }', (0, 3, 8, 8), "l is not finite"),
        ('layer { name: "x" type: "Nothing" bottom: "data" top: "x" }', (0,), "there is no layer type"),
    ],
)
def test_trouble_is_told(tmp_path, text, output, trouble) -> None:
    with np.errstate(all="ignore"):
        row = nets.run(published(output), write(tmp_path, INPUT + text), None, False)
    assert trouble in row["trouble"]


def test_detections_are_compared_in_any_order() -> None:
    rows = np.zeros((1, 1, 4, 7), np.float32)
    rows[0, 0, :3, 1], rows[0, 0, :3, 2] = (2, 1, 1), (0.9, 0.3, 0.6)
    found = nets._detections(rows)
    assert found[:, 1:3].tolist() == pytest.approx(np.array([[2, 0.9], [1, 0.3], [1, 0.6]]))
    assert nets._apart(found, found[::-1]) == 0
    moved = found + np.float32(0.25) * (np.arange(3) == 1)[:, None]
    assert nets._apart(found, moved) == nets._apart(moved, found) == pytest.approx(0.25)
    # Each is held against one: two that became the same are seen.
    assert nets._apart(found, found[[0, 1, 1]]) == pytest.approx(0.3)


def test_a_difference_is_over_the_largest_value(tmp_path) -> None:
    assert nets.difference(np.float32([1, -4]), np.float32([2, -4]), "y") == pytest.approx(0.25)
    assert nets.difference(np.zeros(2), np.zeros(2), "y") == 0
    with pytest.raises(Error, match="y has shape 2, but 3 is computed too"):
        nets.difference(np.zeros(2), np.zeros(3), "y")
    kept, fused = (nets._plan(write(tmp_path, INPUT + CONVOLUTION), None, keep) for keep in (True, False))
    for net in (kept, fused):
        nets.feed(net, {}, 2)
        net.forward()
    assert nets.against_kept(kept, fused) < 1e-5
    fused.blobs["c"].data[0] += 1
    assert nets.against_kept(kept, fused) > 0.01


def test_a_softmax_that_nobody_reads_is_left_out(tmp_path) -> None:
    def softmax(name: str, bottom: str) -> str:
        return f'layer {{ name: "{name}" type: "Softmax" bottom: "{bottom}" top: "{name}" }}\n'

    text = INPUT + CONVOLUTION + softmax("p", "c") + softmax("q", "data") + CONVOLUTION.replace('"c"', '"e"')
    document = nets.without_softmax(write(tmp_path, text.replace('bottom: "data" top: "e"', 'bottom: "q" top: "e"')))
    assert [layer.name for layer in document.message.layer] == ["data", "c", "b", "q", "e", "b"]


def test_weights_are_read_into_their_net(tmp_path) -> None:
    folder = tmp_path / "someone+nets"
    folder.mkdir()
    prototxt = write(folder, INPUT + CONVOLUTION)
    Net(prototxt, TEST).save(folder / "net.caffemodel")
    model = Model("small", "someone/nets", "net.caffemodel", "net.prototxt")
    row = weights.run(model, tmp_path, None)
    assert (row["trouble"], row["taken"], row["input"]) == ("", 2, "2×3×8×8")
    more = CONVOLUTION.replace('name: "', 'name: "second_').replace('"c"', '"e"').replace('"data"', '"c"')
    write(folder, INPUT + CONVOLUTION + more)
    assert weights.run(model, tmp_path, None)["trouble"] == "layers without weights in the file: second_c, second_b"
    assert "is not there" in weights.run(Model("gone", "someone/nets", "a", "net.prototxt"), tmp_path, None)["trouble"]


def test_a_net_is_tested_without_its_data_layers(tmp_path) -> None:
    ends = [
        f'layer {{ name: "{t}" type: "{t}" bottom: "c" bottom: "label" top: "{t}" }}\n'
        for t in ("Accuracy", "SoftmaxWithLoss")
    ]
    data = (
        'layer { name: "d" type: "Data" top: "data" top: "label" data_param { source: "gone_lmdb" batch_size: 5 } }\n'
    )
    net = Net(weights.bare(write(tmp_path, data + CONVOLUTION + "".join(ends))), TEST)
    assert net.layer_names == ["data", "c", "b"]
    assert net.blobs["data"].shape == (100, 3, 32, 32)


def test_boxes_that_overlap_a_better_one_go() -> None:
    boxes = np.array([[0, 0, 9, 9, 0.5], [1, 1, 10, 10, 0.9], [50, 50, 59, 59, 0.1], [2, 2, 5, 5, 0.3]])
    assert mtcnn.suppress(boxes, 0.5) == [1, 3, 2]
    assert mtcnn.suppress(boxes, 0.5, by_smaller=True) == [1, 2]


def write(folder: Path, text: str) -> Path:
    file = folder / "net.prototxt"
    file.write_text(text)
    return file


def published(output: tuple[int, ...]):
    return Published("small", "someone/nets", "net.prototxt", output)
