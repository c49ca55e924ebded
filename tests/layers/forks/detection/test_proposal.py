"""Proposal against one box at a time, after what py-faster-rcnn and mini-caffe compute."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from naive_boxes import suppress
from runner import layer_net, outputs

import caffelite as caffe
from caffelite.errors import DataError, NetError
from caffelite.layers.forks.detection.proposal import anchors
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

RATIOS, SCALES = (0.5, 2.0), (1.0, 2.0, 4.0)
SETTINGS = "ratio: 0.5 ratio: 2 scale: 1 scale: 2 scale: 4 min_size: 8"
PYTHON = 'python_param { module: "rpn.proposal_layer" layer: "ProposalLayer" param_str: "%s" }'
PARAM_STR = "{'feat_stride': 16, 'scales': [1, 2, 4], 'ratios': [0.5, 2]}"


def regions(
    scores: np.ndarray,
    offsets: np.ndarray,
    sizes: Any,
    least: float = 8,
    looked: int = 6000,
    kept: int = 300,
    threshold: float = 0.7,
    drop: bool = False,
    stride: int = 16,
) -> tuple[np.ndarray, np.ndarray]:
    """Return regions and scores; without ``drop``, small ones only have score 0."""
    rows, values = [], []
    for n in range(len(scores)):
        height, width, *factors = sizes[n if len(sizes) > 1 else 0]
        factor_h, factor_w = (factors * 2)[:2]
        boxes, marks = [], []
        for h in range(scores.shape[2]):
            for w in range(scores.shape[3]):
                for a, (ratio, scale) in enumerate((r, s) for r in RATIOS for s in SCALES):
                    wide = round(math.sqrt(256 / ratio))
                    high = round(wide * ratio)
                    x, y = 7.5 + w * stride + 0.5, 7.5 + h * stride + 0.5
                    dx, dy, dw, dh = offsets[n, 4 * a : 4 * a + 4, h, w]
                    x, y = x + dx * wide * scale, y + dy * high * scale
                    half_w, half_h = math.exp(dw) * wide * scale / 2, math.exp(dh) * high * scale / 2
                    box = [
                        min(max(v, 0), limit - 1)
                        for v, limit in zip(
                            (x - half_w, y - half_h, x + half_w, y + half_h), (width, height) * 2, strict=True
                        )
                    ]
                    score = scores[n, scores.shape[1] // 2 + a, h, w]
                    if box[2] - box[0] + 1 < least * factor_w or box[3] - box[1] + 1 < least * factor_h:
                        if drop:
                            continue
                        score = 0
                    boxes.append(box)
                    marks.append(score)
        order = sorted(range(len(boxes)), key=lambda i: -marks[i])[:looked]  # noqa: B023
        for i in suppress(boxes, order, threshold, edge=1, room=kept):
            rows.append([n, *boxes[i]])
            values.append(marks[i])
    return np.array(rows), np.array(values)


def example(images: int = 1, seed: int = 3) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    offsets = 0.4 * rng.standard_normal((images, 24, 5, 6))
    return [rng.random((images, 12, 5, 6)).astype(np.float32), offsets.astype(np.float32)]


def test_anchors_are_those_of_the_paper() -> None:
    # What its authors list, who count pixels from 1.
    assert anchors(16, (0.5, 1, 2), (8, 16, 32), np.round).astype(int).tolist() == [
        [-84, -40, 99, 55],
        [-176, -88, 191, 103],
        [-360, -184, 375, 199],
        [-56, -56, 71, 71],
        [-120, -120, 135, 135],
        [-248, -248, 263, 263],
        [-36, -80, 51, 95],
        [-80, -168, 95, 183],
        [-168, -344, 183, 359],
    ]


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ("", {}),
        ("pre_nms_topn: 60 post_nms_topn: 9 nms_thresh: 0.4", {"looked": 60, "kept": 9, "threshold": 0.4}),
        ("feat_stride: 12", {"stride": 12}),
    ],
)
@pytest.mark.parametrize(
    ("images", "sizes"), [(1, [[70, 90, 2]]), (2, [[70, 90, 1], [60, 50, 3]]), (2, [[70, 90, 1, 3]])]
)
def test_regions(settings: str, facts: dict[str, Any], images: int, sizes: list[list[float]]) -> None:
    arrays = example(images)
    param = f"proposal_param {{ {SETTINGS} {settings} }}"
    found, scores = outputs(layer_net("Proposal", param, *arrays, sizes, tops=2, phase=TEST, force=False))
    expected, values = regions(*arrays, sizes, **facts)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(scores, values, rtol=1e-6)
    assert 0 < len(found) < 180 * images
    if not settings:
        assert (scores == 0).any()


@pytest.mark.parametrize(
    "param_str",
    [
        PARAM_STR,
        "'feat_stride': 16 \\n'ratios': !!python/tuple [0.5, 2]\\n'scales': !!python/tuple [1, 2, 4]",
        "feat_stride: 16, 'ratios': [0.5, 2.0],'scales':[1,2,4]",
    ],
)
def test_the_python_layer_of_published_nets_runs_without_its_code(param_str: str) -> None:
    arrays = [*example(), [[70, 90, 2.0]]]
    found, scores = outputs(layer_net("Python", PYTHON % param_str, *arrays, tops=2, phase=TEST, force=False))
    expected, values = regions(*arrays, least=16, drop=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert scores.shape == (len(values), 1)
    np.testing.assert_allclose(scores[:, 0], values)


def test_the_python_layer_has_nine_anchors() -> None:
    rng = np.random.default_rng(1)
    arrays = [rng.random((1, 18, 2, 3)), rng.standard_normal((1, 36, 2, 3)), [[32, 48, 1]]]
    (found,) = outputs(layer_net("Python", PYTHON % "'feat_stride': 16", *arrays, phase=TEST, force=False))
    assert found.shape[1] == 5
    assert (found[:, 3:] <= [47, 31]).all()


NET = """
layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 1 dim: 12 dim: 5 dim: 6 } } }
layer { name: "o" type: "Input" top: "o" input_param { shape { dim: 1 dim: 24 dim: 5 dim: 6 } } }
layer { name: "i" type: "Input" top: "i" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "f" type: "Input" top: "f" input_param { shape { dim: 1 dim: 3 dim: 5 dim: 6 } } }
layer { name: "p" type: "Python" bottom: "s" bottom: "o" bottom: "i" top: "r" %s }
layer { name: "roi" type: "ROIPooling" bottom: "f" bottom: "r" top: "x"
        roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 } }
layer { name: "fc" type: "InnerProduct" bottom: "x" top: "y"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "y" }
layer { name: "softmax" type: "Softmax" bottom: "y" top: "c" }
""" % (PYTHON % PARAM_STR)


@pytest.mark.parametrize("keep", [True, False])
def test_a_detector_is_fitted_to_the_number_of_regions(keep: bool) -> None:
    net = Net(net_from_text(NET, "net.prototxt"), TEST, keep=keep)
    rng = np.random.default_rng(2)
    features = rng.standard_normal((1, 3, 5, 6)).astype(np.float32)
    many = set()
    for seed, size in ((1, [80, 96, 1]), (2, [80, 96, 3]), (3, [30, 20, 1]), (4, [10, 10, 1]), (5, [0, 0, 0])):
        scores, offsets = example(seed=seed)
        for name, values in (("s", scores), ("o", offsets), ("i", [size]), ("f", features)):
            net.blobs[name].data[...] = values
        net.forward()
        classes = net.blobs["c"].data
        expected, _ = regions(scores, offsets, [size], least=16, drop=True)
        assert classes.shape == (len(expected), 4)
        many.add(len(expected))
        if not len(expected):
            continue
        pooled = outputs(
            layer_net(
                "ROIPooling",
                "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0.0625 }",
                features,
                expected,
                phase=TEST,
                force=False,
            )
        )[0]
        weights, bias = (blob.data for blob in net.params["fc"])
        y = np.exp(np.maximum(pooled.reshape(len(expected), -1) @ weights.T + bias, 0))
        np.testing.assert_allclose(classes, y / y.sum(1, keepdims=True), rtol=1e-4)
    assert 0 in many
    assert len(many) > 3


OWN = """
import caffelite as caffe
class ProposalLayer(caffe.Layer):
    def reshape(self, bottom, top):
        top[0].reshape(1, 5)
    def forward(self, bottom, top):
        top[0].data[...] = 7
"""


def test_the_users_own_class_runs_where_it_may(tmp_path, monkeypatch) -> None:
    text = NET.split('layer { name: "roi"')[0]
    monkeypatch.chdir(tmp_path)
    net = Net(net_from_text(text, "net.prototxt"), TEST, allow_python=True)
    assert net.layers[-1].param.type == "Python"
    net.forward()
    (tmp_path / "rpn").mkdir()
    (tmp_path / "rpn/__init__.py").write_text("")
    (tmp_path / "rpn/proposal_layer.py").write_text("import compiled_nms_of_theirs\n" + OWN)
    try:
        with pytest.warns(UserWarning, match="own ProposalLayer stands in for the user's: .*compiled_nms_of_theirs"):
            Net(net_from_text(text, "net.prototxt"), TEST, allow_python=True).forward()
        (tmp_path / "rpn/proposal_layer.py").write_text(OWN)
        net = Net(net_from_text(text, "net.prototxt"), TEST, allow_python=True)
        net.forward()
        assert (net.blobs["r"].data == 7).all()
        Path("net.prototxt").write_text(text)
        # The program has imported it by now.
        assert (caffe.Net("net.prototxt", TEST).forward(["r"])["r"] == 7).all()
    finally:
        for name in ("rpn", "rpn.proposal_layer"):
            sys.modules.pop(name, None)


def test_no_python_layer_is_provided_for_training() -> None:
    with pytest.raises(NetError, match="runs only where that is allowed"):
        Net(net_from_text(NET, "net.prototxt"), TRAIN)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "proposal_param needs ratio"),
        ("ratio: 1", "proposal_param needs scale"),
        ("ratio: 1 ratio: 0 scale: 8", "ratio is 0, expected above 0"),
        (f"{SETTINGS} feat_stride: 0", "feat_stride is 0, expected at least 1"),
        (f"{SETTINGS} post_nms_topn: 0", "post_nms_topn is 0, expected at least 1"),
        (f"{SETTINGS} nms_thresh: -1", "nms_thresh is -1, expected at least 0"),
        (f"{SETTINGS} scale: 8", "8 anchors need scores of N×16×H×W, not 1×12×5×6"),
    ],
)
def test_settings_that_do_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("Proposal", f"proposal_param {{ {settings} }}", *example(), np.ones((1, 3)), phase=TEST, force=False)


@pytest.mark.parametrize(
    ("param_str", "expected"),
    [
        ("'scales': [1]", "needs 'feat_stride'"),
        ("'feat_stride': 4,8,16", "is not a list of 'key': value"),
        ("16", "is not a list of 'key': value"),
        ("'feat_stride': 16, 'num_classes': 2", "sets 'num_classes'; it can set feat_stride, ratios, scales"),
        ("'feat_stride': x", "sets 'feat_stride' to x, expected a number above 0"),
        ("'feat_stride': [16]", "expected a number above 0"),
        ("'feat_stride': 16, 'scales': 8", "sets 'scales' to 8, expected a list of numbers above 0"),
        ("'feat_stride': 16, 'ratios': [1, -1]", "expected a list of numbers above 0"),
    ],
)
def test_param_str_that_does_not_fit(param_str: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("Python", PYTHON % param_str, *example(), np.ones((1, 3)), phase=TEST, force=False)


def test_shapes_that_do_not_fit() -> None:
    scores, offsets = example(2)
    param, sizes = f"proposal_param {{ {SETTINGS} }}", np.ones((1, 3))
    for arrays, expected in (
        ([scores, offsets[:, 1:], sizes], "6 anchors need offsets of N×24×H×W, not 2×23×5×6"),
        ([scores, offsets[:1], sizes], "scores, 2×12×5×6, and offsets, 1×24×5×6, do not fit"),
        ([scores, offsets, sizes[:, :2]], r"sizes of 2 images \(height, width, factor\), not 1×2"),
        ([scores, offsets, np.ones((3, 3))], "sizes of 2 images .* not 3×3"),
    ):
        with pytest.raises(NetError, match=expected):
            layer_net("Proposal", param, *arrays, phase=TEST, force=False)
    with pytest.raises(NetError, match="takes one image at a time, not 2"):
        layer_net("Python", PYTHON % PARAM_STR, scores, offsets, sizes, phase=TEST, force=False)


@pytest.mark.parametrize("wrong", [np.nan, -1, np.inf])
def test_sizes_that_cannot_be(wrong: float) -> None:
    net = layer_net(
        "Proposal",
        f"proposal_param {{ {SETTINGS} }}",
        *example(2),
        [[70, 90, 1], [70, wrong, 1]],
        phase=TEST,
        force=False,
    )
    with pytest.raises(DataError, match=f"sizes of image 1 .* are 70, {wrong:g}, 1, expected numbers from 0 up"):
        net.forward()
