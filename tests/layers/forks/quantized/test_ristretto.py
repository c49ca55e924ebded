"""The Ristretto layers, against NumPy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError
from caffelite.words import TEST, TRAIN

RNG = np.random.default_rng(19)
X = 3 * RNG.standard_normal((4, 6))


def away(x: np.ndarray) -> np.ndarray:
    return np.sign(x) * np.floor(abs(x) + 0.5)


def fixed(bits: int, fraction: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.clip(away(x * 2.0**fraction), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) / 2.0**fraction


def minifloat(mantissa: int, exponent: int) -> Callable[[np.ndarray], np.ndarray]:
    def one(x: float) -> float:
        if x == 0:
            return 0
        e = math.floor(math.log2(abs(x)))
        bias = 2 ** (exponent - 1) - 1
        largest = 2**exponent - 1 - bias
        if e < -bias:
            return 0
        parts = math.floor((abs(x) / 2.0**e - 1) * 2**mantissa + 0.5)
        if e > largest:
            e, parts = largest, 2**mantissa - 1
        return math.copysign((1 + parts / 2**mantissa) * 2.0**e, x)

    return np.vectorize(one, otypes=[float])


def power(least: int, largest: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda x: np.where(x >= 0, 1, -1) * 2.0 ** np.clip(away(np.log2(abs(x))), least, largest)


@pytest.mark.parametrize(
    ("settings", "params", "bias", "inner", "outer"),
    [
        (
            "bw_params: 4 fl_params: 2 bw_layer_in: 5 fl_layer_in: 1 bw_layer_out: 6 fl_layer_out: -1",
            fixed(4, 2),
            fixed(4, 2),
            fixed(5, 1),
            fixed(6, -1),
        ),
        ("precision: MINIFLOAT mant_bits: 3 exp_bits: 3", *[minifloat(3, 3)] * 4),
        (
            "precision: INTEGER_POWER_OF_2_WEIGHTS exp_min: -2 exp_max: 1 bw_layer_in: 6 fl_layer_in: 3 "
            "bw_layer_out: 8 fl_layer_out: 2",
            power(-2, 1),
            lambda x: x,
            fixed(6, 3),
            fixed(8, 2),
        ),
    ],
)
def test_numbers_of_few_bits(settings: str, params: Callable, bias: Callable, inner: Callable, outer: Callable) -> None:
    x = X.copy()
    x[0, :4] = 0, 1e-9, -100, 0.25
    net = layer_net(
        "FcRistretto",
        f"inner_product_param {{ num_output: 3 }} quantization_param {{ {settings} }}",
        x.shape,
        phase=TEST,
    )
    w, b = net.params["L"]
    w.data[...] = 2 * RNG.standard_normal(w.shape)
    b.data[...] = RNG.standard_normal(b.shape)
    x = x.astype(np.float32)
    expected = outer(inner(x) @ params(w.data).T + bias(b.data))
    before = w.data.copy()
    np.testing.assert_allclose(forward(net, x), expected, rtol=1e-5)
    np.testing.assert_array_equal(net.blobs["x0"].data, x)
    np.testing.assert_array_equal(w.data, before)
    dy = RNG.standard_normal(expected.shape)
    dx, dw, db = gradients(net, dy)
    np.testing.assert_allclose(dx, dy @ params(before), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(dw, dy.T @ inner(x), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(db, dy.sum(0), rtol=1e-4)


def test_a_convolution() -> None:
    x = RNG.standard_normal((2, 3, 5, 5))
    settings = "convolution_param { num_output: 4 kernel_size: 3 }"
    bits = "quantization_param { bw_params: 4 fl_params: 2 bw_layer_in: 6 fl_layer_in: 3 }"
    for kind in ("Convolution", "Deconvolution"):
        plain = layer_net(kind, settings, x.shape, phase=TEST)
        net = layer_net(f"{kind}Ristretto", f"{settings} {bits}", x.shape, phase=TEST)
        values = [RNG.standard_normal(blob.shape).astype(np.float32) for blob in net.params["L"]]
        for one, two, value in zip(net.params["L"], plain.params["L"], values, strict=True):
            one.data[...], two.data[...] = value, fixed(4, 2)(value)
        expected = forward(plain, fixed(6, 3)(x.astype(np.float32)))
        np.testing.assert_allclose(forward(net, x), expected, rtol=1e-4, atol=2.0**-16)


@pytest.mark.parametrize("precision", ["DYNAMIC_FIXED_POINT", "MINIFLOAT", "INTEGER_POWER_OF_2_WEIGHTS"])
def test_training_rounds_at_random(precision: str) -> None:
    settings = f"""inner_product_param {{ num_output: 3000 bias_term: false }}
                   quantization_param {{ precision: {precision} fl_params: 2 mant_bits: 2 }}"""
    x = np.ones((1, 1))
    net = layer_net("FcRistretto", settings, x.shape, phase=TRAIN)
    net.params["L"][0].data[...] = -0.3
    y = forward(net, x)[0]
    low, high = (-0.3125, -0.25) if precision == "MINIFLOAT" else (-0.5, -0.25)
    assert set(np.unique(y)) == {low, high}
    share = (0.05 / 0.0625) if precision == "MINIFLOAT" else 0.2
    if precision == "INTEGER_POWER_OF_2_WEIGHTS":
        share = math.log2(0.3) + 2
    assert (y == low).mean() == pytest.approx(share, abs=0.05)
    assert (forward(net, x)[0] != y).any()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("bw_params: 0", "bw_params is 0, expected 1 to 62"),
        ("fl_params: 1 fl_params: 2", "fl_params is given 2 times, expected once"),
        ("exp_min: 3", "exp_min is 3, above exp_max, -1"),
    ],
)
def test_what_does_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("FcRistretto", f"inner_product_param {{ num_output: 3 }} quantization_param {{ {settings} }}", (2, 3))
    with pytest.raises(NetError, match="needs num_output"):
        layer_net("FcRistretto", "", (2, 3))
