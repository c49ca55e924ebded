"""MultiBoxLoss against one box at a time, after what the SSD and RefineDet forks compute."""

from typing import Any

import numpy as np
import pytest
from naive_boxes import decode, priors_blob, random_boxes
from naive_multibox import loss
from runner import layer_net

from caffelite.errors import DataError, NetError

VARIANCES = (0.1, 0.1, 0.2, 0.2)
PRIORS = 40


def example(classes: int = 4, located: int = 1, seed: int = 1) -> dict[str, np.ndarray]:
    """Three images, the second without boxes."""
    rng = np.random.default_rng(seed)
    priors = random_boxes(rng, PRIORS)
    priors[5], priors[6] = [-0.1, 0.2, 0.3, 0.6], [0.7, 0.7, 0.95, 1.2]
    truth = np.zeros((7, 8), np.float32)
    truth[:, 0] = [0, 0, -1, 2, 2, 2, 0]
    truth[:, 1] = [1, 3, 9, 2, 2, 1, 3]
    near = priors[[3, 20, 0, 11, 5, 30, 21]]
    truth[:, 3:7] = near + rng.uniform(-0.04, 0.04, near.shape)
    truth[5, 7] = 1
    return {
        "locations": rng.standard_normal((3, PRIORS, located, 4)).astype(np.float32) * 0.7,
        "scores": rng.standard_normal((3, PRIORS, classes)).astype(np.float32) * 2,
        "priors": priors,
        "truth": truth,
    }


def blobs(locations: np.ndarray, scores: np.ndarray, priors: np.ndarray, truth: np.ndarray) -> list[np.ndarray]:
    return [locations.reshape(3, -1), scores.reshape(3, -1), priors_blob(priors, VARIANCES), truth[None, None]]


def found(arrays: list[np.ndarray], settings: str, more: str = "") -> float:
    net = layer_net("MultiBoxLoss", f"multibox_loss_param {{ {settings} }} {more}", *arrays, phase=0)
    value = net.forward()
    net.backward()
    assert all(np.isfinite(net.blobs[f"x{j}"].diff).all() for j in range(2))  # type: ignore[type-var, arg-type]
    return value


CASES: list[tuple[str, dict[str, Any]]] = [
    ("", {}),
    (
        "code_type: CENTER_SIZE loc_weight: 2.5 neg_pos_ratio: 1.5 neg_overlap: 0.3 overlap_threshold: 0.35",
        {"code": "CENTER_SIZE", "weight": 2.5, "ratio": 1.5, "neg_overlap": 0.3, "threshold": 0.35},
    ),
    (
        "code_type: CORNER_SIZE loc_loss_type: L2 match_type: BIPARTITE use_difficult_gt: false",
        {"code": "CORNER_SIZE", "square": True, "threshold": None, "difficult": False},
    ),
    ("conf_loss_type: LOGISTIC ignore_cross_boundary_bbox: true", {"logistic": True, "ignore_outside": True}),
    ("mining_type: NONE", {"mining": "NONE"}),
    ("mining_type: NONE conf_loss_type: LOGISTIC", {"mining": "NONE", "logistic": True}),
    ("use_prior_for_matching: false overlap_threshold: 0.2", {"predicted": True, "threshold": 0.2}),
    (
        "mining_type: HARD_EXAMPLE sample_size: 6 code_type: CENTER_SIZE",
        {"mining": "HARD_EXAMPLE", "samples": 6, "code": "CENTER_SIZE"},
    ),
    (
        "mining_type: HARD_EXAMPLE sample_size: 9 nms_param { nms_threshold: 0.3 top_k: 25 }",
        {"mining": "HARD_EXAMPLE", "samples": 9, "nms": (0.3, 25)},
    ),
    ("nms_param { nms_threshold: 0.1 top_k: 12 } use_prior_for_nms: true", {"nms": (0.1, 12), "nms_prior": True}),
    ("nms_param { nms_threshold: 0.5 }", {"nms": (0.5, 0)}),
    ("bp_inside: true overlap_threshold: 0.2", {"inside": True, "threshold": 0.2}),
    (
        "bp_inside: true use_prior_for_matching: false overlap_threshold: 0.2",
        {"inside": True, "threshold": 0.2, "predicted": True},
    ),
    ("encode_variance_in_target: true code_type: CENTER_SIZE", {"encoded": True, "code": "CENTER_SIZE"}),
]


@pytest.mark.parametrize(("settings", "facts"), CASES, ids=[settings or "defaults" for settings, _ in CASES])
def test_the_loss(settings: str, facts: dict[str, Any]) -> None:
    arrays = example()
    value = found(blobs(**arrays), f"num_classes: 4 {settings}")
    assert value == pytest.approx(loss(**arrays, variance=VARIANCES, **facts), rel=1e-4)


@pytest.mark.parametrize("settings", ["", "conf_loss_type: LOGISTIC", "use_prior_for_matching: false"])
def test_locations_of_each_class(settings: str) -> None:
    arrays = example(located=4)
    value = found(blobs(**arrays), f"num_classes: 4 mining_type: NONE share_location: false {settings}")
    facts = {"predicted": "matching" in settings, "logistic": "LOGISTIC" in settings, "mining": "NONE"}
    if facts["predicted"]:
        # A prior may be matched in several classes; its label is the last.
        facts["threshold"] = 0.5
    assert value == pytest.approx(loss(**arrays, variance=VARIANCES, **facts), rel=1e-4)


@pytest.mark.parametrize("mode", ["FULL", "BATCH_SIZE", "NONE", "VALID"])
def test_what_the_sum_is_divided_by(mode: str) -> None:
    arrays = example()
    value = found(blobs(**arrays), "num_classes: 4", f"loss_param {{ normalization: {mode} }}")
    assert value == pytest.approx(loss(**arrays, variance=VARIANCES, mode=mode), rel=1e-4)


def test_objects_without_classes() -> None:
    arrays = example(classes=2)
    expected = loss(**arrays, variance=VARIANCES, agnostic=True)
    assert found(blobs(**arrays), "num_classes: 2") == pytest.approx(expected, rel=1e-4)
    assert found(blobs(**arrays), "num_classes: 2 map_object_to_agnostic: true") == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("mining", ["MAX_NEGATIVE", "HARD_EXAMPLE"])
def test_the_second_stage(mining: str) -> None:
    rng = np.random.default_rng(3)
    arrays = example()
    first = rng.standard_normal((3, PRIORS, 4)).astype(np.float32) * 0.3
    objects = rng.random((3, PRIORS, 2)).astype(np.float32)
    objects[rng.random((3, PRIORS)) < 0.4, 1] = 0.005
    moved = np.float32(
        [[decode(f, p, VARIANCES, "CENTER_SIZE") for f, p in zip(one, arrays["priors"], strict=True)] for one in first]
    )
    inputs = [*blobs(**arrays), objects.reshape(3, -1), first.reshape(3, -1)]
    settings = f"num_classes: 4 code_type: CENTER_SIZE mining_type: {mining} sample_size: 9"
    facts: dict[str, Any] = {"variance": VARIANCES, "code": "CENTER_SIZE", "mining": mining, "samples": 9}
    expected = loss(**arrays, **facts, moved=moved, objectness=objects[..., 1])
    assert found(inputs, settings) == pytest.approx(expected, rel=1e-4)
    expected = loss(**arrays, **facts, objectness=objects[..., 1])
    assert found(inputs[:5], settings) == pytest.approx(expected, rel=1e-4)


def test_parts_that_are_left_out() -> None:
    arrays = blobs(**example())
    whole = found(arrays, "num_classes: 4")
    locations = found(arrays, "num_classes: 4", "propagate_down: [true, false, false, false]")
    scores = found(arrays, "num_classes: 4", "propagate_down: [false, true, false, false]")
    assert 0 < locations < whole
    assert locations + scores == pytest.approx(whole)


def test_without_any_true_box() -> None:
    arrays = example()
    arrays["truth"][:, 0] = -1
    net = layer_net("MultiBoxLoss", "multibox_loss_param { num_classes: 4 }", *blobs(**arrays), phase=0)
    assert net.forward() == 0
    net.backward()
    assert not np.any(net.blobs["x0"].diff)
    assert not np.any(net.blobs["x1"].diff)


@pytest.mark.parametrize(
    ("row", "column", "value", "expected"),
    [
        (3, 1, 4, "row 3 has label 4, which is not one of the 4 classes"),
        (3, 1, 0, "row 3 has label 0, which is not one of the 4 classes"),
        (3, 1, -1, "row 3 has label -1"),
        (3, 1, np.nan, "row 3 has label nan"),
        (4, 0, 3, "row 4 names image 3, but there are 3"),
        (4, 0, -2, "row 4 names image -2"),
        (4, 0, np.nan, "row 4 names image nan"),
    ],
)
def test_true_boxes_that_cannot_be(row: int, column: int, value: float, expected: str) -> None:
    arrays = example()
    arrays["truth"][row, column] = value
    with pytest.raises(DataError, match=expected):
        found(blobs(**arrays), "num_classes: 4")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "needs num_classes"),
        ("num_classes: 4 do_neg_mining: false", "do_neg_mining and mining_type contradict"),
        ("num_classes: 4 share_location: false", "mining needs share_location: true"),
        ("num_classes: 4 mining_type: HARD_EXAMPLE sample_size: 0", "sample_size is 0"),
        ("num_classes: 4 conf_loss_type: LOGISTIC background_label_id: 1", "takes class 0 as background, not 1"),
        ("num_classes: 4 background_label_id: 4", "background_label_id 4 is not one of 4 classes"),
        ("num_classes: 4 map_object_to_agnostic: true", "map_object_to_agnostic needs 2 classes"),
        ("num_classes: 5", "40 priors and 5 classes need 200 scores an image, not 3×160"),
        ("num_classes: 4 mining_type: NONE share_location: false", "need 640 locations an image, not 3×160"),
    ],
)
def test_settings_that_do_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        found(blobs(**example()), settings)


def test_shapes_that_do_not_fit() -> None:
    arrays = blobs(**example())
    with pytest.raises(NetError, match="takes true boxes of 8 numbers, not 1×1×7×7"):
        found([*arrays[:3], np.zeros((1, 1, 7, 7))], "num_classes: 4")
    with pytest.raises(NetError, match="need 80 numbers an image of the first stage, not 3×79"):
        found([*arrays, np.zeros((3, 79))], "num_classes: 4")
    with pytest.raises(NetError, match="second stage of RefineDet needs use_prior_for_matching: true"):
        found([*arrays, np.zeros((3, 80)), np.zeros((3, 160))], "num_classes: 4 use_prior_for_matching: false")
