"""DetectionOutput against one box at a time, after what the SSD and RefineDet forks compute."""

from typing import Any

import numpy as np
import pytest
from naive_boxes import decode, priors_blob, random_boxes, suppress
from runner import layer_net, outputs

from caffelite.errors import NetError
from caffelite.words import TEST

VARIANCES = (0.1, 0.1, 0.2, 0.2)


def expected_rows(
    locations: np.ndarray,
    scores: np.ndarray,
    priors: np.ndarray,
    background: int = 0,
    above: float = -1e30,
    threshold: float = 0.3,
    eta: float = 1,
    top_k: int | None = None,
    keep: int | None = None,
    code: str = "CORNER",
    variances: Any = VARIANCES,
) -> list[list[float]]:
    """Locations are images × priors × (1 or classes) × 4, scores images × priors × classes, priors (images ×) priors × 4."""
    rows = []
    images, many, classes = scores.shape
    for n in range(images):
        mine = []
        for c in range(classes):
            if c == background:
                continue
            place = c if locations.shape[2] > 1 else 0
            own = priors[n] if priors.ndim == 3 else priors
            boxes = [decode(locations[n, p, place], own[p], variances, code) for p in range(many)]
            order = sorted((p for p in range(many) if scores[n, p, c] > above), key=lambda p: (-scores[n, p, c], p))  # noqa: B023
            for p in suppress(boxes, order[:top_k], threshold, eta):
                mine.append([n, c, scores[n, p, c], *boxes[p]])
        best = sorted(range(len(mine)), key=lambda i: -mine[i][2])[:keep]
        rows += [mine[i] for i in sorted(best)]
    return rows


def example(images: int = 2, priors: int = 30, classes: int = 4, located: int = 1, seed: int = 1) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal((images, priors, located, 4)).astype(np.float32),
        rng.random((images, priors, classes)).astype(np.float32),
        random_boxes(rng, priors),
    ]


def blobs(
    locations: np.ndarray, scores: np.ndarray, priors: np.ndarray, variances: Any = VARIANCES
) -> list[np.ndarray]:
    images = len(locations)
    return [locations.reshape(images, -1), scores.reshape(images, -1), priors_blob(priors, variances)]


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ("", {}),
        (
            "nms_param { nms_threshold: 0.45 top_k: 7 } code_type: CENTER_SIZE confidence_threshold: 0.3",
            {"threshold": 0.45, "top_k": 7, "code": "CENTER_SIZE", "above": 0.3},
        ),
        (
            "nms_param { nms_threshold: 0.7 eta: 0.9 } code_type: CORNER_SIZE keep_top_k: 6 background_label_id: 2",
            {"threshold": 0.7, "eta": 0.9, "code": "CORNER_SIZE", "keep": 6, "background": 2},
        ),
        ("background_label_id: -1 keep_top_k: 1000", {"background": -1}),
        ("variance_encoded_in_target: true code_type: CENTER_SIZE", {"variances": (1, 1, 1, 1), "code": "CENTER_SIZE"}),
    ],
)
@pytest.mark.parametrize("shared", [True, False])
def test_detections(settings: str, facts: dict[str, Any], shared: bool) -> None:
    arrays = example(located=1 if shared else 4)
    if facts.get("code") == "CENTER_SIZE" and "variances" in facts:
        arrays[0] *= 0.2
    share = "" if shared else "share_location: false "
    (y,) = outputs(
        layer_net(
            "DetectionOutput",
            f"detection_output_param {{ num_classes: 4 {share}{settings} }}",
            *blobs(*arrays),
            phase=TEST,
            force=False,
        )
    )
    expected = expected_rows(*arrays, **facts)
    assert y.shape == (1, 1, len(expected), 7)
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_the_number_of_detections_follows_the_data() -> None:
    arrays = example()
    net = layer_net(
        "DetectionOutput",
        "detection_output_param { num_classes: 4 confidence_threshold: 0.5 }",
        *blobs(*arrays),
        phase=TEST,
        force=False,
    )
    sizes = set()
    for factor in (1, 0.8, 0.6, 0, 1):
        net.blobs["x1"].data[...] = arrays[1].reshape(2, -1) * factor
        net.forward()
        expected = expected_rows(arrays[0], arrays[1] * np.float32(factor), arrays[2], above=0.5)
        if not factor:
            expected = [[0, *[-1] * 6], [1, *[-1] * 6]]
        np.testing.assert_allclose(net.blobs["y0"].data[0, 0], expected, rtol=1e-4, atol=1e-5)
        sizes.add(len(expected))
    assert len(sizes) == 4


def test_detections_of_two_stages() -> None:
    rng = np.random.default_rng(5)
    locations, scores, priors = example()
    first = rng.standard_normal((2, 30, 4)).astype(np.float32)
    objects = rng.random((2, 30, 2)).astype(np.float32)
    settings = "num_classes: 4 confidence_threshold: 0.1 objectness_score: 0.4 code_type: CENTER_SIZE"
    inputs = [*blobs(locations, scores, priors), objects.reshape(2, -1), first.reshape(2, -1)]
    moved = np.float32(
        [[decode(first[n, p], priors[p], VARIANCES, "CENTER_SIZE") for p in range(30)] for n in range(2)]
    )
    scores = scores.copy()
    scores[objects[..., 1] < 0.4] = [1, 0, 0, 0]
    for many, own in ((5, moved), (4, priors)):
        (y,) = outputs(
            layer_net(
                "DetectionOutput", f"detection_output_param {{ {settings} }}", *inputs[:many], phase=TEST, force=False
            )
        )
        expected = expected_rows(locations, scores, own, above=0.1, code="CENTER_SIZE")
        np.testing.assert_allclose(y[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_an_image_to_draw_on_is_ignored() -> None:
    arrays = example()
    settings = "detection_output_param { num_classes: 4 visualize: true save_output_param { output_directory: 'x' } }"
    with pytest.warns(UserWarning, match="is ignored: nothing is written or drawn"):
        (y,) = outputs(
            layer_net("DetectionOutput", settings, *blobs(*arrays), np.zeros((2, 3, 8, 8)), phase=TEST, force=False)
        )
    assert len(y[0, 0]) == len(expected_rows(*arrays))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", "needs num_classes"),
        ("num_classes: 1", "num_classes is 1, and that is the background"),
        ("num_classes: 4 nms_param { nms_threshold: -1 }", "nms_threshold is -1, expected at least 0"),
        ("num_classes: 4 nms_param { eta: 0 }", "eta is 0, expected above 0 and at most 1"),
        ("num_classes: 5", "30 priors and 5 classes need 150 scores an image, not 2×120"),
        ("num_classes: 4 share_location: false", "30 priors and 4 classes need 480 locations an image, not 2×120"),
    ],
)
def test_settings_that_do_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(
            "DetectionOutput", f"detection_output_param {{ {settings} }}", *blobs(*example()), phase=TEST, force=False
        )


@pytest.mark.parametrize(
    ("bottom", "shape", "expected"),
    [
        (2, (1, 2, 121), "takes priors of shape 1×2×4P, not 1×2×121"),
        (2, (2, 2, 120), "takes priors of shape"),
        (1, (3, 120), "locations of 2 images, but scores of 3"),
        (3, (2, 61), "30 priors need 60 numbers an image of the first stage, not 2×61"),
        (4, (2, 121), "30 priors need 120 numbers an image of the first stage, not 2×121"),
    ],
)
def test_shapes_that_do_not_fit(bottom: int, shape: tuple[int, ...], expected: str) -> None:
    arrays = [*blobs(*example()), np.zeros((2, 60)), np.zeros((2, 120))]
    arrays[bottom] = np.zeros(shape)
    with pytest.raises(NetError, match=expected):
        layer_net("DetectionOutput", "detection_output_param { num_classes: 4 }", *arrays, phase=TEST, force=False)
