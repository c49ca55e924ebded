"""The pooling of regions against one value at a time, after what the Fast R-CNN, R-FCN and MSCNN forks compute."""

import math
from typing import Any

import numpy as np
import pytest
from runner import layer_net, outputs

from caffelite.errors import DataError, NetError
from caffelite.layers.forks.detection.regions import rounded
from caffelite.words import TEST

REGIONS = np.float32(
    [
        [0, 1, 2, 9, 8],
        [1, 3, 3, 3.4, 3.2],
        [0, -5, 1, 16, 7],
        [1, 0, 0, 13, 11],
        [1, 40, 40, 60, 60],  # beyond the map
        [0, 9, 8, 1, 2],  # inside out
        [0, 2.5, 3.5, 7.5, 8.5],
    ]
)


def c_round(x: float) -> int:
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def bin_of(k: int, length: float, many: int, start: float, offset: int, size: int) -> range:
    low, high = math.floor(k * (length / many) + start) + offset, math.ceil((k + 1) * (length / many) + start) + offset
    return range(min(max(low, 0), size), min(max(high, 0), size))


def roi_pooling(x: np.ndarray, regions: Any, pooled: tuple[int, int], scale: float, pad: float = 0) -> np.ndarray:
    y = np.zeros((len(regions), x.shape[1], *pooled))
    for r, (n, left, top, right, bottom) in enumerate(regions):
        dx, dy = (right - left + 1) * pad, (bottom - top + 1) * pad
        w0, w1 = c_round((left - dx) * scale), c_round((right + dx) * scale)
        h0, h1 = c_round((top - dy) * scale), c_round((bottom + dy) * scale)
        for h in range(pooled[0]):
            for w in range(pooled[1]):
                rows = bin_of(h, max(h1 - h0 + 1, 1), pooled[0], 0, h0, x.shape[2])
                columns = bin_of(w, max(w1 - w0 + 1, 1), pooled[1], 0, w0, x.shape[3])
                if rows and columns:
                    y[r, :, h, w] = x[int(n)][:, rows][:, :, columns].max((1, 2))
    return y


def psroi_pooling(x: np.ndarray, regions: Any, group: int, scale: float) -> np.ndarray:
    outputs = x.shape[1] // group**2
    y = np.zeros((len(regions), outputs, group, group))
    for r, (n, left, top, right, bottom) in enumerate(regions):
        w0, h0 = c_round(left) * scale, c_round(top) * scale
        w1, h1 = (c_round(right) + 1) * scale, (c_round(bottom) + 1) * scale
        for d in range(outputs):
            for h in range(group):
                for w in range(group):
                    rows = bin_of(h, max(h1 - h0, 0.1), group, h0, 0, x.shape[2])
                    columns = bin_of(w, max(w1 - w0, 0.1), group, w0, 0, x.shape[3])
                    if rows and columns:
                        y[r, d, h, w] = x[int(n), (d * group + h) * group + w][rows][:, columns].mean()
    return y


def psroi_align(x: np.ndarray, regions: Any, group: int, scale: float, points: int) -> np.ndarray:
    outputs, (height, width) = x.shape[1] // group**2, x.shape[2:]
    y = np.zeros((len(regions), outputs, group, group))
    for r, (n, left, top, right, bottom) in enumerate(regions):
        bin_h, bin_w = (max((b + 1 - a) * scale, 0.1) / group for a, b in ((top, bottom), (left, right)))
        for i, j in np.ndindex(group, group):
            h0, h1 = (min(max(top * scale + k * bin_h, 0), height - 1) for k in (i, i + 1))
            w0, w1 = (min(max(left * scale + k * bin_w, 0), width - 1) for k in (j, j + 1))
            for a, b in np.ndindex(points, points):
                h, w = h0 + (a + 1) * bin_h / (points + 1), w0 + (b + 1) * bin_w / (points + 1)
                if h < h1 and w < w1:
                    for p, q in np.ndindex(2, 2):
                        share = (1 - abs(h - int(h) - p)) * (1 - abs(w - int(w) - q)) / points**2
                        for d in range(outputs):
                            y[r, d, i, j] += share * x[int(n), (d * group + i) * group + j, int(h) + p, int(w) + q]
    return y


def deformed(
    x: np.ndarray, regions: Any, shifts: Any, group: int, scale: float, points: int = 1, part: int = 1, std: float = 0
) -> np.ndarray:
    outputs, (height, width) = x.shape[1] // group**2, x.shape[2:]
    classes = shifts.shape[1] // 2
    y = np.zeros((len(regions), outputs, group, group))
    for r, (n, left, top, right, bottom) in enumerate(regions):
        w0, h0 = c_round(left) * scale - 0.5, c_round(top) * scale - 0.5
        wide = max((c_round(right) + 1) * scale - 0.5 - w0, 0.1)
        high = max((c_round(bottom) + 1) * scale - 0.5 - h0, 0.1)
        for d, i, j in np.ndindex(outputs, group, group):
            right_by, down_by = shifts[r].reshape(classes, 2, part, part)[
                d // (outputs // classes), :, i * part // group, j * part // group
            ]
            values = []
            for a, b in np.ndindex(points, points):
                h = h0 + high * (i / group + down_by * std + a / (group * points))
                w = w0 + wide * (j / group + right_by * std + b / (group * points))
                if -0.5 <= h <= height - 0.5 and -0.5 <= w <= width - 0.5:
                    h, w = min(max(h, 0), height - 1), min(max(w, 0), width - 1)
                    near, far = (math.floor(h), math.floor(w)), (math.ceil(h), math.ceil(w))
                    m = x[int(n), (d * group + i) * group + j]
                    e, f = h - near[0], w - near[1]
                    values.append(
                        (1 - e) * ((1 - f) * m[near] + f * m[near[0], far[1]])
                        + e * ((1 - f) * m[far[0], near[1]] + f * m[far])
                    )
            y[r, d, i, j] = np.mean(values) if values else 0
    return y


def roi_align(x: np.ndarray, regions: Any, pooled: tuple[int, int], scale: float, pad: float = 0) -> np.ndarray:
    height, width = x.shape[2:]
    y = np.zeros((len(regions), x.shape[1], pooled[0] + 1, pooled[1] + 1))
    for r, (n, left, top, right, bottom) in enumerate(regions):
        dx, dy = (right - left + 1) * pad, (bottom - top + 1) * pad
        w0, w1 = (left - dx) * scale - 0.5, (right + dx) * scale - 0.5
        h0, h1 = (top - dy) * scale - 0.5, (bottom + dy) * scale - 0.5
        for i in range(pooled[0] + 1):
            for j in range(pooled[1] + 1):
                h, w = h0 + i * (h1 - h0) / pooled[0], w0 + j * (w1 - w0) / pooled[1]
                if h1 <= h0 or w1 <= w0 or not (-0.5 <= h <= height - 0.5 and -0.5 <= w <= width - 0.5):
                    continue
                h, w = min(max(h, 0), height - 1), min(max(w, 0), width - 1)
                a, b = min(int(h), height - 2), min(int(w), width - 2)
                square = x[int(n), :, a : a + 2, b : b + 2]
                share = np.outer([1 - (h - a), h - a], [1 - (w - b), w - b])
                y[r, :, i, j] = (square * share).sum((1, 2))
    return y


@pytest.mark.parametrize(("scale", "pad"), [(1, 0), (0.5, 0), (0.0625, 0), (0.5, 0.25)])
def test_roi_pooling(scale: float, pad: float) -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 9, 10)).astype(np.float32)
    settings = f"roi_pooling_param {{ pooled_h: 3 pooled_w: 4 spatial_scale: {scale} pad_ratio: {pad} }}"
    (y,) = outputs(layer_net("ROIPooling", settings, x, REGIONS, phase=TEST, force=False))
    np.testing.assert_allclose(y, roi_pooling(x, REGIONS, (3, 4), scale, pad), rtol=1e-6)
    assert not y[4].any() or scale < 0.5


def test_the_size_of_intel() -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 9, 10)).astype(np.float32)
    for sizes, pooled in (("3", (3, 3)), ("[3, 2]", (3, 2))):
        (y,) = outputs(
            layer_net(
                "ROIPooling", f"roi_pooling_param {{ pooled_size: {sizes} }}", x, REGIONS, phase=TEST, force=False
            )
        )
        np.testing.assert_allclose(y, roi_pooling(x, REGIONS, pooled, 1), rtol=1e-6)


@pytest.mark.parametrize("scale", [1, 0.5, 0.0625])
def test_psroi_pooling(scale: float) -> None:
    x = np.random.default_rng(2).standard_normal((2, 18, 9, 10)).astype(np.float32)
    settings = f"psroi_pooling_param {{ output_dim: 2 group_size: 3 spatial_scale: {scale} }}"
    (y,) = outputs(layer_net("PSROIPooling", settings, x, REGIONS[..., None, None], phase=TEST, force=False))
    np.testing.assert_allclose(y, psroi_pooling(x, REGIONS, 3, scale), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("scale", "points"), [(1, 2), (0.5, 2), (0.4, 3)])
def test_psroi_align(scale: float, points: int) -> None:
    x = np.random.default_rng(6).standard_normal((2, 18, 11, 13)).astype(np.float32)
    settings = f"output_dim: 2 group_size: 3 spatial_scale: {scale}"
    settings += f" sample_num: {points}" if points != 2 else ""
    (y,) = outputs(layer_net("PSROIAlign", f"psroi_align_param {{ {settings} }}", x, REGIONS, phase=TEST, force=False))
    expected = psroi_align(x, REGIONS, 3, scale, points)
    assert np.count_nonzero(expected) > 60
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ("no_trans: true sample_per_part: 3", {"points": 3}),
        ("part_size: 3 trans_std: 0.3", {"part": 3, "std": 0.3}),
        ("part_size: 2 trans_std: 0.2 sample_per_part: 2", {"part": 2, "std": 0.2, "points": 2}),
    ],
)
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("scale", [1, 0.4])
def test_deformable_psroi_pooling(settings: str, facts: dict[str, Any], classes: int, scale: float) -> None:
    rng = np.random.default_rng(7)
    x = rng.standard_normal((2, 36, 11, 13)).astype(np.float32)
    part = facts.get("part", 1)
    shifts = rng.standard_normal((len(REGIONS), 2 * classes, part, part)).astype(np.float32)
    text = f"output_dim: 4 group_size: 3 spatial_scale: {scale} {settings}"
    bottoms = [x, REGIONS, shifts][: 3 if "part" in facts else 1 + classes]
    (y,) = outputs(
        layer_net(
            "DeformablePSROIPooling", f"deformable_psroi_pooling_param {{ {text} }}", *bottoms, phase=TEST, force=False
        )
    )
    expected = deformed(x, REGIONS, shifts, 3, scale, **facts)
    assert np.count_nonzero(expected) > 100
    np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-4)


def test_a_number_of_bins_that_is_ignored() -> None:
    settings = "output_dim: 4 group_size: 1 spatial_scale: 1 no_trans: true pooled_size: 7"
    with pytest.warns(UserWarning, match="pooled_size 7 is ignored, as in Caffe"):
        (y,) = outputs(
            layer_net(
                "DeformablePSROIPooling",
                f"deformable_psroi_pooling_param {{ {settings} }}",
                np.zeros((2, 4, 5, 5)),
                REGIONS,
                phase=TEST,
                force=False,
            )
        )
    assert y.shape == (len(REGIONS), 4, 1, 1)


@pytest.mark.parametrize(
    ("settings", "shape", "expected"),
    [
        ("group_size: 2", None, "deformable_psroi_pooling_param needs output_dim of at least 1"),
        ("output_dim: 1 group_size: 2 sample_per_part: 0", None, "needs sample_per_part of at least 1"),
        ("output_dim: 1 group_size: 2", None, "needs part_size of at least 1"),
        (
            "output_dim: 1 group_size: 2 part_size: 2 spatial_scale: 1",
            None,
            "needs a third bottom, the shifts, or no_trans",
        ),
        (
            "output_dim: 1 group_size: 2 part_size: 2 spatial_scale: 1",
            (7, 2, 2, 3),
            "7 regions need shifts of 7×2K×2×2, not 7×2×2×3",
        ),
        ("output_dim: 1 group_size: 2 part_size: 2 spatial_scale: 1", (6, 2, 2, 2), "not 6×2×2×2"),
        (
            "output_dim: 1 group_size: 2 part_size: 2 spatial_scale: 1",
            (7, 4, 2, 2),
            "output_dim 1 is not divisible by the 2 classes",
        ),
    ],
)
def test_shifts_that_do_not_fit(settings: str, shape: tuple[int, ...] | None, expected: str) -> None:
    bottoms = [np.zeros((2, 4, 5, 5)), REGIONS, np.zeros(shape or 1)][: 3 if shape else 2]
    with pytest.raises(NetError, match=expected):
        layer_net(
            "DeformablePSROIPooling",
            f"deformable_psroi_pooling_param {{ {settings} }}",
            *bottoms,
            phase=TEST,
            force=False,
        )


@pytest.mark.parametrize(("scale", "pad"), [(1, 0), (0.5, 0), (0.5, 0.25)])
def test_roi_align(scale: float, pad: float) -> None:
    x = np.random.default_rng(3).standard_normal((2, 3, 9, 10)).astype(np.float32)
    settings = f"roi_pooling_param {{ pooled_h: 3 pooled_w: 4 spatial_scale: {scale} pad_ratio: {pad} }}"
    (y,) = outputs(layer_net("ROIAlign", settings, x, REGIONS, phase=TEST, force=False))
    expected = roi_align(x, REGIONS, (3, 4), scale, pad)
    assert (expected == 0).any() and (expected != 0).any()
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


def test_the_gradient_goes_to_the_largest_once_for_each_bin() -> None:
    x = np.arange(16).reshape(1, 1, 4, 4)
    net = layer_net(
        "ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", x, [[0, 0, 0, 2, 2], [0, 1, 1, 3, 3]], phase=0
    )
    net.forward()
    net.blobs["y0"].diff[...] = 1  # type: ignore[index]
    net.backward()
    expected = np.zeros((4, 4))
    expected[1, 1], expected[1, 2], expected[2, 1], expected[2, 2] = 1, 1, 1, 2
    expected[2, 3] += 1
    expected[3, 2] += 1
    expected[3, 3] += 1
    np.testing.assert_array_equal(net.blobs["x0"].diff[0, 0], expected)  # type: ignore[index]
    assert not net.blobs["x1"].diff.any()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([2, 0, 0, 1, 1], "region 1 is in image 2, but there are 2"),
        ([-1, 0, 0, 1, 1], "region 1 is in image -1"),
        ([np.nan, 0, 0, 1, 1], "region 1 is in image nan"),
        ([0, np.nan, 0, 1, 1], "region 1 has the coordinate nan"),
        ([0, 0, 0, np.inf, 1], "region 1 has the coordinate inf"),
        ([0, 0, 0, 1, -2e9], "region 1 has the coordinate -2e"),
    ],
)
@pytest.mark.parametrize("kind", ["ROIPooling", "PSROIPooling", "ROIAlign", "PSROIAlign"])
def test_regions_that_cannot_be(kind: str, row: list[float], expected: str) -> None:
    settings = "roi_pooling_param { pooled_h: 2 pooled_w: 2 } "
    for name in ("psroi_pooling_param", "psroi_align_param"):
        settings += f"{name} {{ group_size: 2 output_dim: 1 spatial_scale: 1 }} "
    with pytest.raises(DataError, match=expected):
        outputs(layer_net(kind, settings, np.zeros((2, 4, 5, 5)), [[0, 0, 0, 1, 1], row], phase=TEST, force=False))


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("ROIPooling", "", "needs pooled_h and pooled_w of at least 1"),
        ("ROIPooling", "roi_pooling_param { pooled_h: 2 }", "needs pooled_h and pooled_w of at least 1"),
        ("ROIPooling", "roi_pooling_param { pooled_size: [1, 2, 3] }", "pooled_size is given 3 times"),
        ("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 spatial_scale: 0 }", "spatial_scale is 0"),
        ("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 pad_ratio: -1 }", "pad_ratio is -1"),
        ("PSROIPooling", "psroi_pooling_param { group_size: 2 spatial_scale: 1 }", "needs output_dim of at least 1"),
        ("PSROIPooling", "psroi_pooling_param { output_dim: 2 spatial_scale: 1 }", "needs group_size of at least 1"),
        ("PSROIPooling", "psroi_pooling_param { output_dim: 2 group_size: 2 }", "spatial_scale is 0"),
        (
            "PSROIPooling",
            "psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 1 }",
            "its features have 4 channels, expected output_dim × group_size², 8",
        ),
        ("PSROIAlign", "psroi_align_param { group_size: 2 }", "psroi_align_param needs output_dim of at least 1"),
        (
            "PSROIAlign",
            "psroi_align_param { output_dim: 2 group_size: 2 sample_num: 0 }",
            "needs sample_num of at least 1",
        ),
        (
            "PSROIAlign",
            "psroi_align_param { output_dim: 1 group_size: 1 spatial_scale: 1 }",
            "its features have 4 channels, expected output_dim × group_size², 1",
        ),
        ("ROIAlign", "", "needs pooled_h and pooled_w of at least 1"),
        ("ROIAlign", "roi_align_param { pooled_h: 2 }", "roi_align_param belongs to a ROIAlign of another fork"),
        ("ROIAlign", "roi_pooling_param { bi_type: 1 }", "bi_type belongs to a ROIAlign of another fork"),
    ],
)
def test_settings_that_do_not_fit(kind: str, settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, np.zeros((2, 4, 5, 5)), np.zeros((3, 5)), phase=TEST, force=False)


def test_shapes_that_do_not_fit() -> None:
    settings = "roi_pooling_param { pooled_h: 2 pooled_w: 2 }"
    with pytest.raises(NetError, match="takes features of 4 axes .* not 2×4"):
        layer_net("ROIPooling", settings, np.zeros((2, 4)), np.zeros((3, 5)), phase=TEST, force=False)
    with pytest.raises(NetError, match="takes regions of 5 numbers .* not 3×4"):
        layer_net("ROIPooling", settings, np.zeros((2, 4, 5, 5)), np.zeros((3, 4)), phase=TEST, force=False)


def test_rounding_is_that_of_c() -> None:
    values = np.float32([0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, 8388609, -0.2])
    np.testing.assert_array_equal(rounded(values), [1, 2, 3, -1, -2, 0, 8388609, 0])
