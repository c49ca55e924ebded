"""SeLu and SeLuDropout."""

import numpy as np
import pytest

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN


def net(layer: str, phase: int = TRAIN, **options: object) -> Net:
    text = f"""force_backward: true
        layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 100 dim: 100 }} }} }}
        layer {{ name: "L" bottom: "x" top: "y" {layer} }}"""
    made = Net(net_from_text(text, "net.prototxt"), phase, keep=True, **options)  # type: ignore[arg-type]
    made.blobs["x"].data[...] = np.random.default_rng(4).standard_normal((100, 100))
    return made


def test_selu_keeps_mean_and_variance() -> None:
    n = net('type: "SeLu"')
    n.forward()
    x, y = n.blobs["x"].data.astype(np.float64), n.blobs["y"].data
    expected = 1.05070102 * np.where(x > 0, x, 1.67326319 * (np.exp(x) - 1))
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)
    assert abs(y.mean()) < 0.03
    assert y.var() == pytest.approx(1, abs=0.05)


def test_selu_dropout() -> None:
    layer = 'type: "SeLuDropout" selu_dropout_param { dropout_ratio: 0.25 }'
    one, two = net(layer, seed=3), net(layer, seed=3)
    for n in (one, two):
        n.forward()
    x, y = one.blobs["x"].data, one.blobs["y"].data
    np.testing.assert_array_equal(y, two.blobs["y"].data)
    alpha = -1.75809932
    a = (0.75 * (1 + alpha**2 * 0.25)) ** -0.5
    b = -a * 0.25 * alpha
    out = np.isclose(y, a * alpha + b, atol=1e-6)
    assert out.mean() == pytest.approx(0.25, abs=0.02)
    np.testing.assert_allclose(y[~out], (a * x + b)[~out], rtol=1e-5, atol=1e-5)
    assert abs(y.mean()) < 0.04
    assert y.var() == pytest.approx(1, abs=0.05)
    one.blobs["y"].diff[...] = 2  # type: ignore[index]
    one.backward()
    np.testing.assert_allclose(one.blobs["x"].diff, np.where(out, 0, 2 * a), rtol=1e-6)
    first = y.copy()
    one.forward()
    assert (one.blobs["y"].data != first).any()
    two.load_state(one.state())  # goes on from where the other one is
    for n in (one, two):
        n.forward()
    np.testing.assert_array_equal(one.blobs["y"].data, two.blobs["y"].data)


def test_selu_dropout_leaves_nothing_out_in_test() -> None:
    n = net('type: "SeLuDropout"', TEST)
    n.forward()
    np.testing.assert_array_equal(n.blobs["y"].data, n.blobs["x"].data)
