"""DetectionEvaluate against one box at a time, after what the SSD fork computes."""

from typing import Any

import numpy as np
import pytest
from naive_boxes import overlap, random_boxes
from runner import layer_net, outputs

from caffelite.errors import DataError, NetError
from caffelite.words import TEST


def expected_rows(
    found: np.ndarray,
    true: np.ndarray,
    classes: int,
    threshold: float = 0.5,
    difficult: bool = True,
    sizes: Any = None,
    background: int = 0,
) -> list[list[float]]:
    true = [list(row) for row in true]
    rows = [
        [-1, c, sum(row[1] == c and (difficult or not row[7]) for row in true), -1, -1]
        for c in range(classes)
        if c != background
    ]
    for number, image in enumerate(sorted({row[0] for row in found})):
        if sizes is not None:
            height, width = sizes[number % len(sizes)]
        for c in sorted({row[1] for row in found if row[0] == image} - {-1}):
            seen = set()
            for row in sorted((r for r in found if r[0] == image and r[1] == c), key=lambda r: -r[2]):
                best, which = -1.0, -1
                for i, other in enumerate(true):
                    if other[0] == image and other[1] == c:
                        a, b = row[3:], other[3:7]
                        if sizes is not None:
                            a, b = (
                                [min(max(v, 0), 1) * (width, height)[k % 2] for k, v in enumerate(x)] for x in (a, b)
                            )
                        value = overlap(a, b, 0 if sizes is None else 1)
                        if value > best:
                            best, which = value, i
                right, wrong = 0, 1
                if best >= threshold:
                    if not difficult and true[which][7]:
                        right, wrong = 0, 0
                    elif which not in seen:
                        right, wrong = 1, 0
                        seen.add(which)
                rows.append([image, c, row[2], right, wrong])
    return rows


def example(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return detections in images 0, 1 and 3 and true boxes in 0, 1 and 2, near one another."""
    rng = np.random.default_rng(seed)
    true = np.zeros((12, 8), np.float32)
    true[:, 0], true[:, 1], true[:, 2] = np.repeat([0, 1, 2], 4), rng.integers(1, 4, 12), np.arange(12)
    true[:, 3:7], true[:, 7] = random_boxes(rng, 12), rng.random(12) < 0.3
    of = rng.integers(0, 8, 40)
    found = np.zeros((40, 7), np.float32)
    found[:, :2], found[:, 2] = true[of, :2], rng.random(40)
    found[:, 3:] = true[of, 3:7] + 0.03 * rng.standard_normal((40, 4))
    found[36:, 0], found[30:36, 1] = 3, rng.integers(1, 5, 6)
    return found, true


def evaluated(found: np.ndarray, true: np.ndarray, settings: str) -> np.ndarray:
    return outputs(
        layer_net(
            "DetectionEvaluate",
            f"detection_evaluate_param {{ {settings} }}",
            found[None, None],
            true[None, None],
            phase=TEST,
            force=False,
        )
    )[0][0, 0]


@pytest.mark.parametrize(
    ("settings", "facts"),
    [
        ("", {}),
        ("overlap_threshold: 0.7", {"threshold": 0.7}),
        ("evaluate_difficult_gt: false", {"difficult": False}),
    ],
)
@pytest.mark.parametrize("sized", [False, True])
def test_detections(settings: str, facts: dict[str, Any], sized: bool, tmp_path) -> None:
    found, true = example()
    sizes = None
    if sized:
        sizes = [(30, 50), (8, 9)]
        (tmp_path / "sizes.txt").write_text("a 30 50\nb 8 9\n\n")
        settings += f" name_size_file: '{tmp_path / 'sizes.txt'}' resize_param {{ resize_mode: WARP width: 300 }}"
    rows = evaluated(found, true, f"num_classes: 5 {settings}")
    expected = np.array(expected_rows(found, true, 5, sizes=sizes, **facts))
    assert (expected[4:, 3] == 1).any()
    assert (expected[4:, 4] == 1).any()
    np.testing.assert_allclose(rows, expected, rtol=1e-6)


def test_sizes_of_the_next_batch_follow(tmp_path) -> None:
    found, true = example()
    sizes = [(4, 4), (5, 9), (300, 500), (7, 3), (6, 6)]
    (tmp_path / "sizes.txt").write_text("".join(f"x {h} {w}\n" for h, w in sizes))
    net = layer_net(
        "DetectionEvaluate",
        f"detection_evaluate_param {{ num_classes: 5 name_size_file: '{tmp_path / 'sizes.txt'}' }}",
        found[None, None],
        true[None, None],
        phase=TEST,
        force=False,
    )
    for start in (0, 3, 6):
        net.forward()
        turned = [sizes[(start + k) % 5] for k in range(5)]
        expected = expected_rows(found, true, 5, sizes=turned)
        np.testing.assert_allclose(net.blobs["y0"].data[0, 0], expected, rtol=1e-6)


def test_what_is_left_out() -> None:
    found, true = example()
    some, few = found.copy(), true.copy()
    some[5:, 1] = -1
    few[6, 0] = -1
    rows = evaluated(some, few, "num_classes: 5")
    np.testing.assert_allclose(rows, expected_rows(found[:5], true[:6], 5), rtol=1e-6)
    nothing = np.full((1, 7), -1.0)
    rows = evaluated(nothing, few, "num_classes: 4 background_label_id: 0")
    assert rows[:, 1].tolist() == [1, 2, 3]
    rows = evaluated(nothing, few, "num_classes: 5 background_label_id: 4")
    assert rows[:, 1].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("settings", "shapes", "expected"),
    [
        ("", (7, 8), "detection_evaluate_param needs num_classes"),
        ("num_classes: 3 overlap_threshold: 0", (7, 8), "overlap_threshold is 0, expected above 0"),
        ("num_classes: 3", (6, 8), "takes detections of 1×1×N×7, not 1×1×2×6"),
        ("num_classes: 3", (7, 7), "takes true boxes of 1×1×N×8, not 1×1×2×7"),
        ("num_classes: 3 resize_param { resize_mode: FIT_LARGE_SIZE_AND_PAD }", (7, 8), "which is not supported"),
        ("num_classes: 3 resize_param { height_scale: 3 }", (7, 8), "which is not supported"),
        ("num_classes: 3 name_size_file: 'none'", (7, 8), '"none" cannot be read: No such file'),
    ],
)
def test_settings_that_do_not_fit(settings: str, shapes: tuple[int, int], expected: str) -> None:
    with pytest.raises((NetError, DataError), match=expected):
        layer_net(
            "DetectionEvaluate",
            f"detection_evaluate_param {{ {settings} }}",
            *[np.zeros((1, 1, 2, n)) for n in shapes],
            phase=TEST,
            force=False,
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "sizes.txt: no image is in it"),
        ("a 3 4\nb 5", ":2: expected a name, a height and a width"),
        ("a 3 0", ":1: expected a name, a height and a width"),
    ],
)
def test_a_list_of_sizes_that_does_not_fit(text: str, expected: str, tmp_path) -> None:
    (tmp_path / "sizes.txt").write_text(text)
    with pytest.raises(DataError, match=expected):
        evaluated(*example(), f"num_classes: 5 name_size_file: '{tmp_path / 'sizes.txt'}'")


def test_boxes_without_a_class() -> None:
    found, true = example()
    for rows, value, name in ((found, 0, "0"), (true, np.nan, "nan")):
        kept = rows[3, 1]
        rows[3, 1] = value
        with pytest.raises(DataError, match=f"row 3 has image . and class {name}, expected"):
            evaluated(found, true, "num_classes: 5")
        rows[3, 1] = kept
