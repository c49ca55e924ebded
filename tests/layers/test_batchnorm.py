"""BatchNorm: what is caffelite's own in it; golden values and gradients are tested with all other layers."""

import numpy as np
import pytest
from runner import forward, layer_net

from caffelite.errors import NetError
from caffelite.schema.messages import NetParameter
from caffelite.words import TEST

RNG = np.random.default_rng(1)
BATCHES = [RNG.standard_normal((4, 3, 5, 6)).astype(np.float32) * k + k for k in (1, 5, 2)]


def test_a_simple_average_counts_all_batches_alike() -> None:
    net = layer_net("BatchNorm", "batch_norm_param { moving_average: SIMPLE }", (4, 3, 5, 6))
    for x in BATCHES:
        forward(net, x)
    mean, variance, factor = (blob.data for blob in net.params["L"])
    assert factor[0] == 3
    np.testing.assert_allclose(mean / 3, np.mean([x.mean((0, 2, 3)) for x in BATCHES], axis=0), rtol=1e-5)
    expected = np.mean([x.var((0, 2, 3), ddof=1) for x in BATCHES], axis=0)
    np.testing.assert_allclose(variance / 3, expected, rtol=1e-5)
    tested = layer_net("BatchNorm", "", (4, 3, 5, 6), phase=TEST)
    for own, found in zip(tested.params["L"], net.params["L"], strict=True):
        own.data[...] = found.data
    y = forward(tested, BATCHES[0])
    along = (1, 3, 1, 1)
    np.testing.assert_allclose(
        y, (BATCHES[0] - (mean / 3).reshape(along)) / np.sqrt(expected.reshape(along) + 1e-5), rtol=1e-4, atol=1e-5
    )


def test_the_default_is_the_exponential_average() -> None:
    settings = "batch_norm_param { moving_average_fraction: 0.5 %s }"
    found = []
    for more in ("", "moving_average: EXPONENTIAL"):
        net = layer_net("BatchNorm", settings % more, (4, 3, 5, 6))
        for x in BATCHES:
            forward(net, x)
        found.append([blob.data.copy() for blob in net.params["L"]])
    assert found[0][2][0] == 1.75
    for default, named in zip(*found, strict=True):
        np.testing.assert_array_equal(default, named)


def test_a_net_without_the_field_is_written_without_it() -> None:
    net = NetParameter()
    net.layer.add(type="BatchNorm").batch_norm_param.eps = 0.1
    assert b"\xa2\xe8" not in net.SerializeToString()
    assert "moving_average" not in str(net)


def test_a_simple_average_has_no_fraction() -> None:
    with pytest.raises(NetError, match=r'net.prototxt:3:\d+: layer "L": moving_average: SIMPLE forgets nothing'):
        layer_net("BatchNorm", "batch_norm_param { moving_average: SIMPLE moving_average_fraction: 0.9 }", (4, 3))
