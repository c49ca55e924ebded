"""The losses of YOLO nets against one box at a time, after what the MobileNet-YOLO fork computes."""

import math
from typing import Any

import numpy as np
import pytest
from naive_boxes import overlap
from runner import layer_net

from caffelite.errors import DataError, NetError
from caffelite.words import TEST

SIZES = [(10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119)]
TRUE = np.zeros((2, 7, 5), np.float32)
TRUE[0, :4] = [[1, 0.3, 0.4, 0.5, 0.6], [0, 0.81, 0.2, 0.2, 0.13], [2, 0.31, 0.42, 0.45, 0.7], [2, 0.6, 0.9, 0.1, 0.2]]
TRUE[1, :2] = [[2, 0.5, 0.01, 0.33, 0.3], [2, 0.99, 0.99, 0.12, 0.1]]
TRUE[1, 3] = [0, 0.2, 0.2, 0.5, 0.5]  # behind the end


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def slope(y: float) -> float:
    return y * (1 - y)


def corners(box: Any) -> list[float]:
    x, y, w, h = box
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def iou(a: Any, b: Any) -> float:
    return overlap(corners(a), corners(b))


def shape_iou(a: Any, b: Any) -> float:
    return iou((0, 0, *a), (0, 0, *b))


def version_2(
    maps: np.ndarray,
    true: np.ndarray,
    sizes: Any,
    classes: int,
    thresh: float = 0.2,
    coord: float = 5,
    thing: float = 1,
    nothing: float = 0.5,
    kind: float = 1,
    match: bool = True,
    rescore: bool = True,
) -> np.ndarray:
    delta = np.zeros(maps.shape)
    images, _, side, _ = maps.shape
    numbers = 5 + classes

    def box_at(n: int, a: int, y: int, x: int) -> list[float]:
        t = maps[n, a * numbers :, y, x]
        return [
            (x + logistic(t[0])) / side,
            (y + logistic(t[1])) / side,
            math.exp(t[2]) * sizes[a][0] / side,
            math.exp(t[3]) * sizes[a][1] / side,
        ]

    for n in range(images):
        boxes = [row for i, row in enumerate(true[n]) if (true[n, : i + 1, 3] > 0).all()]
        for a, y, x in np.ndindex(len(sizes), side, side):
            best = max([iou(box_at(n, a, y, x), row[1:]) for row in boxes], default=0)
            p = logistic(maps[n, a * numbers + 4, y, x])
            delta[n, a * numbers + 4, y, x] = 0 if best > thresh else nothing * p * slope(p)
        for row in boxes:
            x, y = int(row[1] * side), int(row[2] * side)
            fits = [
                shape_iou(np.array(s) / side if match else box_at(n, a, y, x)[2:], row[3:]) for a, s in enumerate(sizes)
            ]
            a = int(np.argmax(fits))
            t = maps[n, a * numbers : (a + 1) * numbers, y, x].astype(float)
            d = delta[n, a * numbers : (a + 1) * numbers, y, x]
            scale = coord if rescore else coord * (2 - row[3] * row[4])
            for k, goal in enumerate((row[1] * side - x, row[2] * side - y)):
                p = logistic(t[k])
                d[k] = scale * (p - goal) * slope(p)
                d[2 + k] = scale * (t[2 + k] - math.log(row[3 + k] * side / sizes[a][k]))
            p = logistic(t[4])
            d[4] = thing * (p - (iou(box_at(n, a, y, x), row[1:]) if rescore else 1)) * slope(p)
            shares = np.exp(t[5:]) / np.exp(t[5:]).sum()
            d[5:] = [kind * (s - (c == row[0])) for c, s in enumerate(shares)]
    return delta


def version_3(
    maps: np.ndarray,
    true: np.ndarray,
    mask: list[int],
    unit: float,
    classes: int,
    thresh: float = 0.2,
    coord: float = 5,
    thing: float = 1,
    kind: float = 1,
    also: float = 0.5,
    smooth: float = 0.1,
    logic: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the loss is made of, and what is sent back."""
    images, _, height, width = maps.shape
    numbers = 5 + classes
    seen = maps.astype(float)
    squashed = np.array([k % numbers not in (2, 3) for k in range(maps.shape[1])])
    seen[:, squashed] = 1 / (1 + np.exp(-seen[:, squashed]))
    delta = np.zeros(maps.shape)
    parts = [(w / (width * unit), h / (height * unit)) for w, h in SIZES]

    def learn(n: int, a: int, row: Any) -> None:
        x, y = int(row[1] * width), int(row[2] * height)
        t, d = (v[n, a * numbers : (a + 1) * numbers, y, x] for v in (seen, delta))
        goals = [row[1] * width - x, row[2] * height - y, *(math.log(row[3 + k] / parts[mask[a]][k]) for k in (0, 1))]
        for k, goal in enumerate(goals):
            d[k] = coord * (2 - row[3] * row[4]) * (t[k] - goal)
        d[4] = (t[4] - 1) * (thing if logic else 1)
        label = int(row[0])
        alone = d[5 + label] == 0
        for c in range(classes):
            if alone or c == label:
                d[5 + c] = kind * (t[5 + c] - ((1 - smooth if c == label else 0) + smooth / 2))

    for n in range(images):
        boxes = [row for i, row in enumerate(true[n]) if (true[n, : i + 1, 3] > 0).all()]
        for a, y, x in np.ndindex(len(mask), height, width):
            t = seen[n, a * numbers :, y, x]
            box = [(x + t[0]) / width, (y + t[1]) / height, *(math.exp(t[2 + k]) * parts[mask[a]][k] for k in (0, 1))]
            best = max([iou(box, row[1:]) for row in boxes], default=0)
            delta[n, a * numbers + 4, y, x] = 0 if best > thresh else t[4]
        for row in boxes:
            fits = [shape_iou(size, row[3:]) for size in parts]
            best = int(np.argmax(fits))
            if best in mask:
                best = mask.index(best)
                learn(n, best, row)
            for number, fit in enumerate(fits):
                if number in mask and number != best and also < 1 and fit > also:
                    learn(n, mask.index(number), row)
    sent = delta.copy()
    if logic:
        sent[:, squashed] *= (seen * (1 - seen))[:, squashed]
    return delta, sent


def check(kind: str, maps: np.ndarray, settings: str, delta: np.ndarray, sent: np.ndarray) -> None:
    net = layer_net(kind, settings, maps, TRUE[:, None], phase=0)
    for _ in range(2):
        loss = net.forward()
        net.backward()
        assert loss == pytest.approx((delta**2).sum() / 2, rel=1e-4)
        np.testing.assert_allclose(net.blobs["x0"].diff, sent / 2, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ("", {}),
        (
            "thresh: 0.6 coord_scale: 1 object_scale: 5 noobject_scale: 1 class_scale: 2",
            {"thresh": 0.6, "coord": 1, "thing": 5, "nothing": 1, "kind": 2},
        ),
        ("rescore: 0 bias_match: 0", {"rescore": False, "match": False}),
    ],
)
def test_version_2(settings: str, facts: dict[str, Any]) -> None:
    maps = np.random.default_rng(1).standard_normal((2, 24, 5, 5)).astype(np.float32)
    sizes = [(1.08, 1.19), (3.42, 4.41), (1.63, 0.9)]
    settings += " num_class: 3 num: 3 " + " ".join(f"biases: {v}" for size in sizes for v in size)
    delta = version_2(maps, TRUE, sizes, 3, **facts)
    check("RegionLoss", maps, f"region_loss_param {{ {settings} }}", delta, delta)


def third(mask: list[int], more: str = "") -> str:
    text = " ".join(f"biases: {v}" for size in SIZES for v in size) + " ".join(f" mask: {m}" for m in mask)
    return f"yolov3_param {{ num_class: 3 {text} {more} }}"


@pytest.mark.parametrize("mask", [[3, 4, 5], [0, 1, 2], [5, 1, 0]])
@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ("", {}),
        (
            "thresh: 0.6 coord_scale: 1 object_scale: 5 noobject_scale: 9 class_scale: 2 iou_thresh: 1",
            {"thresh": 0.6, "coord": 1, "thing": 5, "kind": 2, "also": 1},
        ),
        ("iou_thresh: 0.2 label_smooth_eps: 0", {"also": 0.2, "smooth": 0}),
        ("use_logic_gradient: true object_scale: 3", {"logic": True, "thing": 3}),
    ],
)
def test_version_3(mask: list[int], settings: str, facts: dict[str, Any]) -> None:
    maps = np.random.default_rng(1).standard_normal((2, 24, 5, 6)).astype(np.float32)
    delta, sent = version_3(maps, TRUE, mask, 24, 3, **facts)
    check("Yolov3", maps, third(mask, f"num: 3 anchors_scale: 24 {settings}"), delta, sent)


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("RegionLoss", "region_loss_param { num: 0 }", "num is 0, expected at least 1"),
        ("RegionLoss", "region_loss_param { num_class: 0 }", "num_class is 0, expected at least 1"),
        ("RegionLoss", "region_loss_param { biases: 1 }", "needs 10 biases for 5 anchors, not 1"),
        ("RegionLoss", "region_loss_param { num: 1 biases: 1 biases: -1 }", "expected above 0, not -1"),
        ("RegionLoss", "region_loss_param { num: 1 biases: 1 biases: 1 coords: 3 }", "coords is 3, expected 4"),
        (
            "RegionLoss",
            "region_loss_param { num: 3 num_class: 3 biases: [1, 1, 1, 1, 1, 1] }",
            "takes square maps, not 2×24×5×6",
        ),
        (
            "RegionLoss",
            "region_loss_param { num: 3 num_class: 4 biases: [1, 1, 1, 1, 1, 1] }",
            "3 anchors and 4 classes need N×27×H×W, not 2×24×5×6",
        ),
        ("Yolov3", third([0, 1, 2], "num: 3 iou_loss: GIOU"), "iou_loss other than MSE is not supported"),
        ("Yolov3", third([0, 1, 2], "num: 3 use_focal_loss: true"), "use_focal_loss is not supported"),
        ("Yolov3", third([0, 1, 2], "num: 3 anchors_scale: 0"), "anchors_scale is 0"),
        ("Yolov3", third([0, 1], "num: 3"), "3 anchors need a mask of 3, not 2"),
        ("Yolov3", third([0, 1, 6], "num: 3"), r"mask names anchor 6, but the biases make 6 \(from 0\)"),
    ],
)
def test_settings_that_do_not_fit(kind: str, settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, np.zeros((2, 24, 5, 6)), TRUE, phase=TEST, force=False)


@pytest.mark.parametrize("shape", [(1, 5), (2, 6)])
def test_true_boxes_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(NetError, match="takes for each of 2 images true boxes of five numbers .* not"):
        layer_net(
            "Yolov3", third([0, 1, 2], "num: 3"), np.zeros((2, 24, 5, 6)), np.zeros(shape), phase=TEST, force=False
        )


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (0, 3, "box 1 of image 1 has class 3, expected 0 to 2"),
        (0, np.nan, "has class nan"),
        (1, 1, "has centre 1, 0.99 and size 0.12, 0.1, expected a centre from 0 to below 1 and a size above 0"),
        (2, -0.1, "has centre 0.99, -0.1"),
        (4, 0, "and size 0.12, 0,"),
        (3, np.inf, "and size inf, 0.1"),
    ],
)
def test_true_boxes_that_cannot_be(place: int, value: float, expected: str) -> None:
    true = TRUE.copy()
    true[1, 1, place] = value
    net = layer_net("Yolov3", third([0, 1, 2], "num: 3"), np.zeros((2, 24, 5, 6)), true, phase=0, force=False)
    with pytest.raises(DataError, match=expected), np.errstate(invalid="ignore"):
        net.forward()
