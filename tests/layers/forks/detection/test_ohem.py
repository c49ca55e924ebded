"""The layers of online hard example mining against one region at a time, after what the R-FCN fork computes."""

import math

import numpy as np
import pytest
from runner import layer_net, outputs

from caffelite.errors import DataError, NetError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN


def annotated(regions: np.ndarray, losses: np.ndarray, labels: np.ndarray, weights: np.ndarray, most: int, ignore: int):
    """Regions are N × 5 × S, losses and labels N × S, weights N × C × S."""
    kept, kept_weights = np.full_like(labels, ignore), np.zeros_like(weights)
    left: dict[int, int] = {}
    for loss, n, s in sorted((-losses[n, s], n, s) for n in range(len(losses)) for s in range(losses.shape[1])):
        assert loss <= 0
        image = int(regions[n, 0, s])
        left[image] = left.get(image, most) - 1
        if left[image] >= 0:
            kept[n, s] = labels[n, s]
            kept_weights[n, :, s] = weights[n, :, s]
    return kept, kept_weights


@pytest.mark.parametrize("places", [(), (2, 3)])
@pytest.mark.parametrize(("most", "ignore"), [(3, -1), (1, 5), (100, -1)])
def test_the_hardest_regions_of_each_image(places: tuple[int, ...], most: int, ignore: int) -> None:
    rng = np.random.default_rng(1)
    size = math.prod(places)
    regions = rng.random((10, 5, size)).astype(np.float32)
    regions[:, 0] = rng.integers(0, 3, (10, size))
    losses, labels = rng.random((10, size)).astype(np.float32), rng.integers(0, 4, (10, size)).astype(np.float32)
    weights = rng.random((10, 8, size)).astype(np.float32)
    four = places or (1, 1)
    arrays = [
        regions.reshape(10, 5, *places),
        losses.reshape(10, 1, *four),
        labels.reshape(10, 1, *four),
        weights.reshape(10, 8, *places),
    ]
    settings = f"box_annotator_ohem_param {{ roi_per_img: {most} ignore_label: {ignore} }}"
    found = outputs(layer_net("BoxAnnotatorOHEM", settings, *arrays, tops=2, phase=TEST, force=False))
    kept, kept_weights = annotated(regions, losses, labels, weights, most, ignore)
    np.testing.assert_array_equal(found[0], kept.reshape(10, 1, *four))
    np.testing.assert_array_equal(found[1], kept_weights.reshape(10, 8, *four))


@pytest.mark.parametrize(
    ("settings", "shapes", "expected"),
    [
        ("", [(4, 5), (4,), (4,), (4, 8)], "needs roi_per_img of at least 1"),
        ("roi_per_img: 2", [(4, 4), (4,), (4,), (4, 8)], "takes regions of N×5 or N×5×H×W, not 4×4"),
        ("roi_per_img: 2", [(4, 5), (3,), (4,), (4, 8)], "takes losses of 4×1×1×1 for regions of 4×5, not 3"),
        ("roi_per_img: 2", [(4, 5), (4,), (4, 2), (4, 8)], "takes labels of 4×1×1×1 for regions of 4×5, not 4×2"),
        ("roi_per_img: 2", [(4, 5), (4,), (4,), (5, 8)], "takes weights of 4×C×1×1 for regions of 4×5, not 5×8"),
    ],
)
def test_what_does_not_fit(settings: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    arrays = [np.zeros(shape) for shape in shapes]
    with pytest.raises(NetError, match=expected):
        layer_net(
            "BoxAnnotatorOHEM", f"box_annotator_ohem_param {{ {settings} }}", *arrays, tops=2, phase=TEST, force=False
        )


@pytest.mark.parametrize("image", [-1, np.nan, np.inf])
def test_a_region_in_no_image(image: float) -> None:
    regions = np.zeros((4, 5))
    regions[2, 0] = image
    arrays = [regions, np.zeros(4), np.zeros(4), np.zeros((4, 8))]
    with pytest.raises(DataError, match=f"region 2 is in image {image:g}, expected a number from 0"):
        outputs(
            layer_net(
                "BoxAnnotatorOHEM",
                "box_annotator_ohem_param { roi_per_img: 2 }",
                *arrays,
                tops=2,
                phase=TEST,
                force=False,
            )
        )


@pytest.mark.parametrize(
    ("param", "by"),
    [
        ("", 5),
        ("ignore_label: 7", 5),
        ("ignore_label: -1", 3),
        ("normalization: FULL", 5),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 128", 128),
    ],
)
def test_the_loss_of_each_region(param: str, by: float) -> None:
    rng = np.random.default_rng(3)
    scores, labels = rng.standard_normal((5, 4, 1, 1)), np.array([0, 3, 1, 1, 2]).reshape(5, 1, 1, 1)
    if "-1" in param:
        labels[[1, 4]] = -1
    loss, p, each = outputs(
        layer_net("SoftmaxWithLossOHEM", f"loss_param {{ {param} }}", scores, labels, tops=3, phase=TEST, force=False)
    )
    exponents = np.exp(scores)
    expected = exponents / exponents.sum(1, keepdims=True)
    np.testing.assert_allclose(p, expected, rtol=1e-5)
    losses = [-math.log(expected[n, c, 0, 0]) if c >= 0 else 0 for n, c in enumerate(labels.ravel())]
    assert each.shape == labels.shape
    np.testing.assert_allclose(each.ravel(), losses, rtol=1e-5)
    assert loss == pytest.approx(sum(losses) / by, rel=1e-5)


def test_a_label_that_is_no_class() -> None:
    with pytest.raises(DataError, match="label 4 is not one of its 4 classes"):
        outputs(layer_net("SoftmaxWithLossOHEM", "", np.zeros((2, 4)), [0, 4], tops=3, phase=TEST, force=False))


@pytest.mark.parametrize(
    ("param", "by"),
    [
        ("", 12),
        ("normalization: BATCH_SIZE", 2),
        ("normalization: NONE", 1),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 128", 128),
        ("normalization: PRE_FIXED pre_fixed_normalizer: 0.5", 1),
    ],
)
@pytest.mark.parametrize("weighted", [True, False])
def test_the_box_loss_of_each_region(param: str, by: float, weighted: bool) -> None:
    x = np.random.default_rng(4).standard_normal((3, 2, 5, 2, 3))
    d = np.abs((x[0] - x[1]) * (x[2] if weighted else 1))
    f = np.where(d < 1, d**2 / 2, d - 0.5)
    loss, each = outputs(
        layer_net(
            "SmoothL1LossOHEM", f"loss_param {{ {param} }}", *list(x[: 2 + weighted]), tops=2, phase=TEST, force=False
        )
    )
    np.testing.assert_allclose(each, f.sum(1, keepdims=True), rtol=1e-5)
    assert loss == pytest.approx(f.sum() / by, rel=1e-5)


def test_too_many_axes() -> None:
    with pytest.raises(NetError, match="takes at most 4 axes, not 2×1×1×1×1"):
        layer_net("SmoothL1LossOHEM", "", *[np.zeros((2, 1, 1, 1, 1))] * 2, tops=2, phase=TEST, force=False)


TEXT = """
layer { name: "scores" type: "Input" top: "scores" input_param { shape { dim: 6 dim: 3 dim: 1 dim: 1 } } }
layer { name: "boxes" type: "Input" top: "boxes" input_param { shape { dim: 6 dim: 8 dim: 1 dim: 1 } } }
layer { name: "targets" type: "Input" top: "targets" input_param { shape { dim: 6 dim: 8 dim: 1 dim: 1 } } }
layer { name: "weights" type: "Input" top: "weights" input_param { shape { dim: 6 dim: 8 dim: 1 dim: 1 } } }
layer { name: "rois" type: "Input" top: "rois" input_param { shape { dim: 6 dim: 5 } } }
layer { name: "labels" type: "Input" top: "labels" input_param { shape { dim: 6 dim: 1 dim: 1 dim: 1 } } }
layer { name: "a" type: "SoftmaxWithLossOHEM" bottom: "scores" bottom: "labels" top: "t1" top: "t2" top: "each_class"
        loss_weight: 0 loss_weight: 0 loss_weight: 0 propagate_down: false propagate_down: false }
layer { name: "b" type: "SmoothL1LossOHEM" bottom: "boxes" bottom: "targets" bottom: "weights" top: "t3"
        top: "each_box" loss_weight: 0 loss_weight: 0 propagate_down: false propagate_down: false propagate_down: false }
layer { name: "sum" type: "Eltwise" bottom: "each_class" bottom: "each_box" top: "each"
        propagate_down: false propagate_down: false }
layer { name: "annotate" type: "BoxAnnotatorOHEM" bottom: "rois" bottom: "each" bottom: "labels" bottom: "weights"
        top: "hard" top: "hard_weights" box_annotator_ohem_param { roi_per_img: 2 } propagate_down: false
        propagate_down: false propagate_down: false propagate_down: false }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "hard" top: "loss"
        loss_param { ignore_label: -1 } propagate_down: true propagate_down: false }
layer { name: "box_loss" type: "SmoothL1LossOHEM" bottom: "boxes" bottom: "targets" bottom: "hard_weights"
        top: "box_loss" loss_param { normalization: PRE_FIXED pre_fixed_normalizer: 2 }
        propagate_down: true propagate_down: false propagate_down: false }
force_backward: true
"""


def test_the_net_of_r_fcn_learns_from_the_hardest_regions() -> None:
    net = Net(net_from_text(TEXT, "net.prototxt"), TRAIN, keep=True)
    rng = np.random.default_rng(5)
    for name in ("scores", "boxes", "targets"):
        net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
    net.blobs["weights"].data[...] = 1
    net.blobs["labels"].data[:, 0, 0, 0] = [0, 1, 2, 0, 1, 2]
    total = net.forward()
    net.backward()
    p = np.exp(net.blobs["scores"].data[:, :, 0, 0])
    p /= p.sum(1, keepdims=True)
    d = np.abs(net.blobs["boxes"].data - net.blobs["targets"].data)[:, :, 0, 0]
    losses = -np.log(p[np.arange(6), [0, 1, 2, 0, 1, 2]]), np.where(d < 1, d**2 / 2, d - 0.5).sum(1)
    hardest = np.argsort(-(losses[0] + losses[1]))[:2]
    assert total == pytest.approx(float((losses[0] + losses[1])[hardest].sum() / 2), rel=1e-5)
    for name in ("scores", "boxes"):
        diff = net.blobs[name].diff
        assert diff is not None
        assert set(np.flatnonzero(np.abs(diff).sum((1, 2, 3)))) == set(hardest)
