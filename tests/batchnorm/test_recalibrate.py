"""Statistics measured anew: against all values at once in float64."""

from collections.abc import Iterator

import numpy as np
import pytest

from caffelite.batchnorm.recalibrate import recalibrate
from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TRAIN

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 5 dim: 6 } } }\n'
TEXT = (
    INPUT
    + """
layer { name: "a" type: "BatchNorm" bottom: "x" top: "a" batch_norm_param { moving_average_fraction: 0.5 } }
layer { name: "s" type: "Power" bottom: "a" top: "s" power_param { scale: 3 shift: 2 } }
layer { name: "b" type: "BatchNorm" bottom: "s" top: "b" batch_norm_param { use_global_stats: true } }
"""
)
RNG = np.random.default_rng(1)
BATCHES = [(RNG.standard_normal((4, 3, 5, 6)) * k + k).astype(np.float32) for k in (1, 5, 2)]


def built(text: str = TEXT) -> Net:
    return Net(net_from_text(text, "net.prototxt"), TRAIN, global_stats=False, learn=False)


def feed(net: Net, batches: list[np.ndarray]) -> Iterator[int]:
    for i, batch in enumerate(batches):
        net.blobs["x"].data[...] = batch
        yield i


def divided(net: Net, name: str) -> tuple[np.ndarray, np.ndarray]:
    mean, variance, factor = (blob.data for blob in net.params[name])
    return mean / factor, variance / factor


def test_exact_statistics_are_those_of_all_values() -> None:
    net = built()
    changes = recalibrate(net, feed(net, BATCHES))
    values = np.concatenate(BATCHES).astype(np.float64)
    mean, variance = divided(net, "a")
    np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(variance, values.var((0, 2, 3), ddof=1), rtol=1e-5)
    # Each batch was normalised by its own statistics, so the next layer has always seen the same.
    mean, variance = divided(net, "b")
    np.testing.assert_allclose(mean, 2, rtol=1e-5)
    np.testing.assert_allclose(variance, 9, rtol=0.01)
    assert [(c.layer, c.values) for c in changes] == [("a", 120), ("b", 120)]
    assert all(np.isnan(c.variance) for c in changes)  # nothing was stored before
    again = recalibrate(net, feed(net, BATCHES))
    assert [c.variance for c in again] == pytest.approx([1, 1])
    assert [c.mean for c in again] == pytest.approx([0, 0], abs=1e-6)


def test_simple_and_exponential_averages() -> None:
    net = built()
    recalibrate(net, feed(net, BATCHES), "simple")
    means = [x.mean((0, 2, 3), dtype=np.float64) for x in BATCHES]
    variances = [x.var((0, 2, 3), ddof=1, dtype=np.float64) for x in BATCHES]
    mean, variance = divided(net, "a")
    np.testing.assert_allclose(mean, np.mean(means, axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, np.mean(variances, axis=0), rtol=1e-5)
    recalibrate(net, feed(net, BATCHES), "exponential")
    assert net.params["a"][2].data[0] == 1.75
    np.testing.assert_allclose(divided(net, "a")[0], np.average(means, axis=0, weights=[0.25, 0.5, 1]), rtol=1e-5)


def test_what_cannot_be_measured_is_said() -> None:
    with pytest.raises(NetError, match=r"^net\.prototxt: there is no BatchNorm layer"):
        recalibrate(built(INPUT), range(1))
    net = built()
    with pytest.raises(NetError, match="without a batch"):
        recalibrate(net, [])
    with pytest.raises(NetError, match=r'net\.prototxt:3:\d+: layer "a": its statistics are no numbers'):
        recalibrate(net, feed(net, [np.full((4, 3, 5, 6), np.nan)]))
