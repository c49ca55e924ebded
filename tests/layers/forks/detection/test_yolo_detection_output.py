"""The detections of YOLO nets against one box at a time, after what the MobileNet-YOLO fork computes."""

import math
from typing import Any

import numpy as np
import pytest
from naive_boxes import suppress
from runner import layer_net, outputs

from caffelite.errors import NetError
from caffelite.words import TEST

SIZES = [(10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119)]
MASK = [3, 4, 5, 0, 1, 2]


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def box_of(t: Any, x: int, y: int, width: int, height: int, size: Any, scale: float) -> list[float]:
    centre = (x + logistic(t[0])) / width, (y + logistic(t[1])) / height
    w, h = math.exp(t[2]) * size[0] / (width * scale), math.exp(t[3]) * size[1] / (height * scale)
    return [centre[0] - w / 2, centre[1] - h / 2, centre[0] + w / 2, centre[1] + h / 2]


def detections(
    maps: list[np.ndarray],
    classes: int,
    sizes: list[Any],
    scales: list[float],
    third: bool,
    least: float,
    threshold: float,
) -> list[list[float]]:
    """``sizes`` has the anchors of each map."""
    rows = []
    for n in range(len(maps[0])):
        found = []
        for m, anchors, scale in zip(maps, sizes, scales, strict=True):
            height, width = m.shape[2:]
            for y, x in np.ndindex(height, width):
                for a, size in enumerate(anchors):
                    t = m[n, a * (5 + classes) : (a + 1) * (5 + classes), y, x].astype(float)
                    box = box_of(t, x, y, width, height, size, scale)
                    if third:
                        scores = [(logistic(t[4]) * logistic(v), c) for c, v in enumerate(t[5:])]
                        found += [[n, c + 1, s, *box] for s, c in scores if s > least]
                    else:
                        shares = np.exp(t[5:]) / np.exp(t[5:]).sum()
                        score = logistic(t[4]) * shares.max()
                        if score >= least:
                            found.append([n, int(shares.argmax()) + 1, score, *box])
        order = sorted(range(len(found)), key=lambda i: -found[i][2])  # noqa: B023
        rows += [found[i] for i in suppress([row[3:] for row in found], order, threshold - 1e-9)]
    return rows


def maps_of(classes: int, anchors: int, *shapes: tuple[int, int], images: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [
        (rng.standard_normal((images, anchors * (5 + classes), *shape)) - 0.5).astype(np.float32) for shape in shapes
    ]


def third(masks: list[int] = MASK, scales: Any = (32, 16), more: str = "") -> str:
    text = " ".join(f"biases: {v}" for size in SIZES for v in size)
    text += " ".join(f" mask: {m}" for m in masks) + " ".join(f" anchors_scale: {s}" for s in scales)
    return f"yolov3_detection_output_param {{ {text} {more} }}"


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(
    ("settings", "least", "threshold"), [("", 0.01, 0.45), ("confidence_threshold: 0.3 nms_threshold: 0.2", 0.3, 0.2)]
)
def test_version_3(images: int, settings: str, least: float, threshold: float) -> None:
    maps = maps_of(4, 3, (3, 4), (6, 8), images=images)
    (y,) = outputs(
        layer_net("Yolov3DetectionOutput", third(more=f"num_classes: 4 {settings}"), *maps, phase=TEST, force=False)
    )
    sizes = [SIZES[3:], SIZES[:3]]
    expected = detections(maps, 4, sizes, [32, 16], True, least, threshold)
    assert y.shape == (1, 1, len(expected), 7)
    assert 20 < len(expected) < images * 4 * 3 * 60
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_version_3_with_three_maps_of_two_anchors() -> None:
    maps = maps_of(2, 2, (2, 2), (3, 2), (4, 4))
    settings = third([4, 5, 2, 3, 0, 1], (32, 16, 8), "num_classes: 2 num_box: 2 mask_group_num: 3")
    (y,) = outputs(layer_net("Yolov3DetectionOutput", settings, *maps, phase=TEST, force=False))
    expected = detections(maps, 2, [SIZES[4:], SIZES[2:4], SIZES[:2]], [32, 16, 8], True, 0.01, 0.45)
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize(
    ("settings", "least", "threshold"), [("", 0.01, 0.45), ("confidence_threshold: 0.3 nms_threshold: 0.2", 0.3, 0.2)]
)
def test_version_2(count: int, images: int, settings: str, least: float, threshold: float) -> None:
    maps = maps_of(3, 5, (4, 4), (7, 7), images=images)[:count]
    sizes = [(1.08, 1.19), (3.42, 4.41), (6.63, 11.38), (9.42, 5.11), (0.62, 0.52)]
    settings += " num_classes: 3 " + " ".join(f"biases: {v}" for size in sizes for v in size)
    (y,) = outputs(
        layer_net(
            "YoloDetectionOutput", f"yolo_detection_output_param {{ {settings} }}", *maps, phase=TEST, force=False
        )
    )
    expected = detections(maps, 3, [sizes] * count, [1] * count, False, least, threshold)
    assert len(expected) > 5
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_boxes_that_overlap_by_the_threshold_itself_are_one() -> None:
    x = np.full((1, 12, 1, 2), -20.0)
    x[0, [0, 1, 6, 7], 0, 0] = 0  # both in the middle of the first place
    x[0, [2, 3, 8], 0, 0] = 0
    x[0, 9, 0, 0] = np.log(0.5)  # the second is half as high
    x[0, [4, 5, 10, 11], 0, 0] = 20, 20, 20, 2
    text = "num_classes: 1 num_box: 2 biases: 1 biases: 1 biases: 1 biases: 1 nms_threshold: "
    for threshold, many in (("0.5", 1), ("0.51", 2)):
        (y,) = outputs(
            layer_net(
                "YoloDetectionOutput",
                f"yolo_detection_output_param {{ {text} {threshold} }}",
                x,
                phase=TEST,
                force=False,
            )
        )
        assert y.shape[2] == many


def test_the_number_of_detections_follows_the_data() -> None:
    maps = maps_of(4, 3, (3, 4), (6, 8), images=2)
    net = layer_net(
        "Yolov3DetectionOutput", third(more="num_classes: 4 confidence_threshold: 0.4"), *maps, phase=TEST, force=False
    )
    sizes = [SIZES[3:], SIZES[:3]]
    many = set()
    for shift in (0, 0.5, -0.5, -10, 0):
        for name, m in zip(("x0", "x1"), maps, strict=True):
            net.blobs[name].data[...] = m + np.float32(shift)
        net.forward()
        expected = detections([m + np.float32(shift) for m in maps], 4, sizes, [32, 16], True, 0.4, 0.45)
        if shift == -10:
            expected = [[0, *[-1] * 6], [1, *[-1] * 6]]
        np.testing.assert_allclose(net.blobs["y0"].data[0, 0], expected, rtol=1e-4, atol=1e-5)
        many.add(len(expected))
    assert len(many) == 4


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (third(), "needs num_classes of at least 1"),
        (third(more="num_classes: 4 num_box: 0"), "num_box is 0, expected at least 1"),
        (third(more="num_classes: 4 nms_threshold: -1"), "nms_threshold is -1, expected at least 0"),
        (third(more="num_classes: 4 biases: 0"), "biases are the sizes of anchors, expected above 0, not 0"),
        (third(more="num_classes: 4 gaussian_box: true"), "gaussian_box is not supported"),
        (third(more="num_classes: 4 mask_group_num: 3"), "mask_group_num is 3, but there are 2 bottoms"),
        (third(scales=(32,), more="num_classes: 4"), r"need as many anchors_scale above 0, not \[32\]"),
        (third(MASK[:5], more="num_classes: 4"), "2 bottoms of 3 anchors need a mask of 6, not 5"),
        (third([0, 1, 2, 3, 4, 6], more="num_classes: 4"), r"mask names anchor 6, but the biases make 6 \(from 0\)"),
        (third(more="num_classes: 5"), "3 anchors and 5 classes need N×30×H×W, not 1×27×2×2"),
    ],
)
def test_settings_that_do_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("Yolov3DetectionOutput", settings, *maps_of(4, 3, (2, 2), (4, 4)), phase=TEST, force=False)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "needs num_classes of at least 1"),
        ("num_classes: 3 biases: 1", "5 anchors need 10 biases, not 1"),
        ("num_classes: 3 coords: 5", "coords is 5, expected 4"),
    ],
)
def test_settings_of_version_2_that_do_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(
            "YoloDetectionOutput",
            f"yolo_detection_output_param {{ {settings} }}",
            *maps_of(3, 5, (2, 2)),
            phase=TEST,
            force=False,
        )


def test_maps_of_different_numbers_of_images() -> None:
    maps = maps_of(4, 3, (3, 4), (6, 8), images=2)
    with pytest.raises(NetError, match="its bottoms have 2 and 1 images"):
        layer_net("Yolov3DetectionOutput", third(more="num_classes: 4"), maps[0], maps[1][:1], phase=TEST, force=False)
