"""How two blobs differ: each pattern is made, and must be told."""

import numpy as np
import pytest

from caffelite.export.compare.matching import TOLERANCE, match
from caffelite.export.compare.patterns import patterns

RNG = np.random.default_rng(7)
A = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)
PER_CHANNEL = np.array([2.0, -0.5, 1.5], np.float32).reshape(1, 3, 1, 1)


def but(index: tuple, value: float) -> np.ndarray:
    """Return A with other values at an index."""
    b = A.copy()
    b[index] += value
    return b


@pytest.mark.parametrize(
    ("b", "kind", "said"),
    [
        (2.5 * A, "scale", "it is 2.5 times the first"),
        (A - 3, "offset", "it is the first - 3"),
        (A * PER_CHANNEL, "channel scale", "times a number, 2, -0.5, 1.5"),
        (A + PER_CHANNEL, "channel offset", "plus a number, 2, -0.5, 1.5"),
        (A * PER_CHANNEL + 1, "channel scale and offset", "times a number, 2, -0.5, 1.5, plus another"),
        (A[:, ::-1], "reversed", "reverse order (BGR, RGB)"),
        (A[:, [1, 2, 0]], "channels permuted", "in the order 1, 2, 0"),
        (A.transpose(0, 2, 3, 1), "axes", "in the order 0, 2, 3, 1 (height, width, channels)"),
        (A.transpose(0, 1, 3, 2), "axes", "in the order 0, 1, 3, 2"),
        (but(np.s_[:, 1], 1), "channels", "in channel 1 of 3 alone"),
        (but(np.s_[0], RNG.normal(size=A.shape[1:])), "images", "in image 0 of 2 alone"),
        (but(np.s_[:, :, -1, :], RNG.normal(size=8)), "border", "in the outermost pixel alone: bottom"),
        (but(np.s_[:, :, :2, :2], RNG.normal(size=(2, 2))), "border", "in the outermost 2 pixels alone: corners"),
        (but(np.s_[0, 0, 0, 0], np.nan), "nan", "1 of 384 values are no finite numbers in the second alone"),
        (A[:, :, :7, :7], "shape", "it is 2×3×7×7 in place of 2×3×8×8"),
        (RNG.normal(size=A.shape).astype(np.float32), "everywhere", "without a pattern that is known here"),
    ],
)
def test_what_is_true_of_a_difference(b, kind, said):
    told = {pattern.kind: pattern.text for pattern in patterns(A, b, TOLERANCE)}
    assert said in told[kind]
    assert ("everywhere" in told) == (kind == "everywhere")


def names(a: dict, b: dict) -> list[tuple[str, str, str]]:
    return [(pair.a, pair.b, pair.by) for pair in match(a, b)]


def test_blobs_of_other_names_are_matched_by_their_values_in_order():
    a = {"data": A, "conv": A + 1, "relu": A + 2, "prob": A[:, :, 0, 0]}
    b = {"data": A, "x": A + 5, "y": A + 1, "z": A + 2, "w": A[:, :, :1, :1]}
    assert names(a, b) == [
        ("data", "data", "name"),
        ("conv", "y", "order"),
        ("relu", "z", "order"),
        ("prob", "w", "order"),
    ]


def test_a_guess_with_something_equal_behind_it_is_none():
    # One side has a BatchNorm of its own, the other has it in the convolution.
    assert names({"conv": A, "bn": A * 2, "relu": A * 3}, {"a": A * 2, "b": A * 3}) == [
        ("bn", "a", "order"),
        ("relu", "b", "order"),
    ]
    assert names({"conv": A, "relu": A * 3}, {"a": A + 1, "b": A * 3}) == [("relu", "b", "order")]
    assert names({"conv": A, "relu": A * 3}, {"a": A, "b": A * 4}) == [("conv", "a", "order"), ("relu", "b", "order")]


def test_what_is_nearly_equal_is_the_same_blob_whatever_is_behind_it():
    a = {"conv": A, "bn": A[:, ::-1] * 1.01, "prob": A[:, :1]}
    b = {"first": A * 2, "x": A, "y": A[:, ::-1], "z": A[:, :1]}
    assert names(a, b) == [("conv", "x", "order"), ("bn", "y", "order"), ("prob", "z", "order")]


def test_as_many_maps_on_both_sides_are_in_order_where_sizes_differ():
    a = {"data": A, "pool1": A[:, :, :5, :5], "pool2": A[:, :, :3, :3]}
    b = {"data": A, "x": 2 * A[:, :, :3, :3], "y": 2 * A[:, :, :2, :2]}
    assert names(a, b)[1:] == [("pool1", "x", "order"), ("pool2", "y", "order")]


def test_a_difference_is_by_the_largest_value():
    (pair,) = match({"x": A}, {"x": but((1, 2, 3, 4), 0.5)})
    largest = max(np.abs(A).max(), abs(A[1, 2, 3, 4] + 0.5))
    assert pair.place == (1, 2, 3, 4) and pair.difference == pytest.approx(0.5 / largest, rel=1e-5)
    (pair,) = match({"x": A}, {"x": but((1, 2, 3, 4), np.nan)})
    assert pair.difference == np.inf
    (pair,) = match({"x": but((0, 0), np.nan)}, {"x": but((0, 0), np.nan)})
    assert pair.difference == 0
