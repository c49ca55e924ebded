"""Batch normalization on a GPU, against Caffe's values, against float64, against differences."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_arrays import OnGpu, rounded

from caffelite.kernels.cuda import batchnorm
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "BatchNorm.npz")
CASES = sorted({key.split("/")[0] for key in GOLDEN})

#: No multiples of anything; one block a channel and several; N×C and N×C×…; batch 1; one channel.
SHAPES = [(3, 5, 7), (40, 3), (1, 1, 197), (9, 33, 2), (4, 17), (1, 3, 3), (4, 1, 8, 32)]
TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 1.6e-2}


def zeros(*shape: int) -> OnGpu:
    return OnGpu(np.zeros(shape))


def spread(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return values.reshape(1, -1, *[1] * (like.ndim - 2)).astype(np.float64)


def axes(x: np.ndarray) -> tuple[int, ...]:
    return tuple(axis for axis in range(x.ndim) if axis != 1)


def value(z: np.ndarray, activation: str | None, slope: float) -> np.ndarray:
    if activation == "Sigmoid":
        return 1 / (1 + np.exp(-z))
    return np.where(z > 0, z, slope * z) if activation else z


def derivative(z: np.ndarray, activation: str | None, slope: float) -> np.ndarray:
    if activation == "Sigmoid":
        y = value(z, activation, slope)
        return y * (1 - y)
    return np.where(z > 0, 1, slope) if activation else np.ones_like(z)


def expected(
    x: np.ndarray,
    dy: np.ndarray,
    factor: np.ndarray,
    offset: np.ndarray,
    eps: float = 1e-5,
    activation: str | None = None,
    slope: float = 0.0,
) -> dict[str, np.ndarray]:
    x, factor, offset, over = x.astype(np.float64), spread(factor, x), spread(offset, x), axes(x)
    inverse = 1 / np.sqrt(x.var(over, keepdims=True) + eps)
    z = (x - x.mean(over, keepdims=True)) * inverse
    before = z * factor + offset
    d = dy * derivative(before, activation, slope)
    mean, along = d.mean(over, keepdims=True), (d * z).mean(over, keepdims=True)
    return {
        "y": value(before, activation, slope),
        "dx": (d - mean - z * along) * inverse * factor,
        "d_factor": (d * z).sum(over),
        "d_offset": d.sum(over),
    }


def agree(found: np.ndarray, exact: np.ndarray, tolerance: float) -> None:
    scale = max(np.abs(exact).max(), 1e-30)
    assert np.abs(found - exact).max() <= tolerance * scale


def both_ways(
    x: np.ndarray,
    dy: np.ndarray,
    factor: np.ndarray,
    offset: np.ndarray,
    kind: str = "float32",
    in_place: bool = False,
    **how: Any,
) -> dict[str, np.ndarray]:
    """Run forward and backward on the GPU."""
    there = OnGpu(x, kind)
    saved, y, dx, d_factor, d_offset = (
        zeros(3, x.shape[1]),
        OnGpu(x * 0, kind),
        OnGpu(dy, kind),
        zeros(x.shape[1]),
        zeros(x.shape[1]),
    )
    parameters = {"factor": OnGpu(factor), "offset": OnGpu(offset)}
    batchnorm.forward(there, y, saved, **parameters, **how)
    how.pop("eps", None)
    batchnorm.backward(there, dx, dx, saved, **parameters, d_factor=d_factor, d_offset=d_offset, **how)
    if in_place:
        batchnorm.forward(there, there, **parameters, **how)
        y = there
    return {"y": y.values, "dx": dx.values, "d_factor": d_factor.values, "d_offset": d_offset.values}


def example(shape: tuple[int, ...], kind: str = "float32", mean: float = 0.5, deviation: float = 2.0) -> Any:
    rng = np.random.default_rng(7)
    x = rounded(mean + deviation * rng.standard_normal(shape), kind)
    dy = rounded(rng.standard_normal(shape), kind)
    factor, offset = (rng.standard_normal(shape[1]).astype(np.float32) for _ in range(2))
    return x, dy, factor, offset


@pytest.mark.parametrize("number", CASES)
def test_agrees_with_caffe(number: str) -> None:
    case = {key.split("/")[1]: GOLDEN[key] for key in GOLDEN if key.startswith(f"{number}/")}
    settings = net_from_text(str(case["prototxt"]), "case").message.layer[-1].batch_norm_param
    globally = (TRAIN if str(case["phase"]) == "TRAIN" else TEST) == TEST
    if settings.HasField("use_global_stats"):
        globally = settings.use_global_stats
    x, dy = OnGpu(case["x0"]), OnGpu(case["gy0"])
    y, dx, saved = OnGpu(case["x0"] * 0), OnGpu(case["x0"] * 0), zeros(3, case["x0"].shape[1])
    stored = OnGpu(case["w0"]), OnGpu(case["w1"]), OnGpu(case["w2"].reshape(1))
    if globally:
        batchnorm.forward_global(x, y, stored, saved, eps=settings.eps)
    else:
        batchnorm.forward(x, y, saved, stored=stored, eps=settings.eps, fraction=settings.moving_average_fraction)
    batchnorm.backward(x, dy, dx, saved, global_statistics=globally)
    tolerance = 2e-3 if "mean 100" in str(case["note"]) else 2e-4
    agree(y.values, case["y0"], tolerance)
    agree(dx.values, case["gx0"], tolerance)
    for j, blob in enumerate(stored):
        agree(blob.values, case[f"w{j}_after"], 2e-4)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", [None, "ReLU"])
def test_agrees_with_float64(shape: tuple[int, ...], activation: str | None) -> None:
    data = example(shape)
    found = both_ways(*data, activation=activation)
    for name, exact in expected(*data, activation=activation).items():
        agree(found[name], exact, 1e-5)


@pytest.mark.parametrize("how", [{"activation": "ReLU", "negative_slope": 0.1}, {"activation": "Sigmoid"}], ids=str)
def test_other_activations(how: dict[str, Any]) -> None:
    data = example((3, 5, 7))
    found = both_ways(*data, **how)
    for name, exact in expected(*data, activation=how["activation"], slope=how.get("negative_slope", 0)).items():
        agree(found[name], exact, 1e-5)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
@pytest.mark.parametrize("shape", [(3, 5, 7), (4, 1, 8, 32), (40, 3), (5, 2, 4)], ids=str)
def test_half_precision_has_statistics_in_float32(kind: str, shape: tuple[int, ...]) -> None:
    data = example(shape, kind)
    found = both_ways(*data, kind=kind, activation="ReLU")
    for name, exact in expected(*data, activation="ReLU").items():
        agree(found[name], exact, TOLERANCE[kind] if name in ("y", "dx") else 1e-5)


@pytest.mark.parametrize("shape", [(4, 3, 40), (1, 2, 197), (50, 3)], ids=str)
@pytest.mark.parametrize("first", [0.0, 50.0])
def test_a_large_mean_loses_no_digits(shape: tuple[int, ...], first: float) -> None:
    x, dy, factor, offset = example(shape, mean=100, deviation=0.1)
    # A first value far from the rest, which is what the others are told from.
    x[(0, slice(None), *[0] * (len(shape) - 2))] -= first
    found = both_ways(x, dy, factor, offset)
    for name, exact in expected(x, dy, factor, offset).items():
        agree(found[name], exact, 1e-4)


def test_stored_statistics_decay() -> None:
    x, _, _, _ = example((2, 3, 50))
    stored = OnGpu(np.array([1.0, 2, 3])), OnGpu(np.array([4.0, 5, 6])), OnGpu(np.array([2.0]))
    batchnorm.forward(OnGpu(x), OnGpu(x), stored=stored, fraction=0.9)
    exact = x.astype(np.float64)
    agree(stored[0].values, 0.9 * np.array([1, 2, 3]) + exact.mean((0, 2)), 1e-6)
    agree(stored[1].values, 0.9 * np.array([4, 5, 6]) + exact.var((0, 2)) * 100 / 99, 1e-6)
    agree(stored[2].values, np.array([2.8]), 1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 197), (3, 5, 7)], ids=str)
def test_two_runs_give_the_same_bits(shape: tuple[int, ...]) -> None:
    data = example(shape)
    one, other = (both_ways(*data, activation="ReLU") for _ in range(2))
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.parametrize("shape", [(1, 1, 197), (3, 5, 7)], ids=str)
def test_in_place(shape: tuple[int, ...]) -> None:
    data = example(shape)
    found = both_ways(*data, in_place=True)["y"]
    assert (found == both_ways(*data)["y"]).all()


def test_gradient_is_the_derivative() -> None:
    """Central differences of ``sum(y * dy)``, y computed on the GPU."""
    x, dy, factor, offset = example((3, 2, 3))
    found = both_ways(x, dy, factor, offset, eps=1e-3, activation="Sigmoid")
    h = 1e-2

    def loss(x: np.ndarray, factor: np.ndarray, offset: np.ndarray) -> float:
        y = OnGpu(x * 0)
        batchnorm.forward(OnGpu(x), y, factor=OnGpu(factor), offset=OnGpu(offset), eps=1e-3, activation="Sigmoid")
        return float((y.values.astype(np.float64) * dy).sum())

    for name, index in (("dx", 0), ("d_factor", 1), ("d_offset", 2)):
        arrays = [x, factor, offset]
        differences = np.zeros(arrays[index].size)
        for i in range(differences.size):
            ends = []
            for sign in (1, -1):
                moved = [a.copy() for a in arrays]
                moved[index].reshape(-1)[i] += sign * h
                ends.append(loss(*moved))
            differences[i] = (ends[0] - ends[1]) / (2 * h)
        agree(found[name].reshape(-1), differences, 5e-3)


@pytest.mark.parametrize("shape", [(1, 1, 197), (3, 5, 7)], ids=str)
def test_stored_statistics_and_parameter_gradients(shape: tuple[int, ...]) -> None:
    x, dy, factor, offset = example(shape)
    channels = shape[1]
    mean, variance = np.linspace(-1, 1, channels), np.linspace(0.5, 2, channels)
    stored = OnGpu(3 * mean), OnGpu(3 * variance), OnGpu(np.array([3.0]))
    saved, y, dx, d_factor = zeros(3, channels), OnGpu(x * 0), OnGpu(x * 0), OnGpu(np.ones(channels))
    how: dict[str, Any] = {"factor": OnGpu(factor), "offset": OnGpu(offset), "activation": "ReLU"}
    batchnorm.forward_global(OnGpu(x), y, stored, saved, **how)
    batchnorm.backward(OnGpu(x), OnGpu(dy), dx, saved, d_factor=d_factor, add=True, global_statistics=True, **how)
    inverse = spread(1 / np.sqrt(variance + 1e-5), x)
    z = (x - spread(mean, x)) * inverse
    before = z * spread(factor, x) + spread(offset, x)
    agree(y.values, np.maximum(before, 0), 1e-5)
    d = dy * (before > 0)
    agree(dx.values, d * inverse * spread(factor, x), 1e-5)
    agree(d_factor.values, 1 + (d * z).sum(axes(x)), 1e-5)
    assert (stored[2].values == 3).all()
    # Nothing to sum: only the gradient to x.
    other = OnGpu(x * 0)
    batchnorm.backward(OnGpu(x), OnGpu(dy), other, saved, global_statistics=True, **how)
    assert (other.values == dx.values).all()


def test_only_parameters_get_a_gradient() -> None:
    x, dy, factor, offset = example((3, 5, 7))
    saved, d_offset = zeros(3, 5), zeros(5)
    batchnorm.forward(OnGpu(x), OnGpu(x * 0), saved)
    batchnorm.backward(OnGpu(x), OnGpu(dy), None, saved, d_offset=d_offset)
    agree(d_offset.values, dy.astype(np.float64).sum((0, 2)), 1e-5)


def test_the_result_runs_again() -> None:
    x, _, _, _ = example((3, 5, 7))
    there, y, factor = OnGpu(x), OnGpu(x * 0), OnGpu(np.zeros(1))
    again = batchnorm.forward(there, y, stored=(zeros(5), zeros(5), factor), fraction=1, run=False)
    assert not y.values.any() and not factor.values.any()
    again()
    again()
    assert factor.values == [2] and y.values.any()
