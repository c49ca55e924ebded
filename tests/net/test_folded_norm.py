"""BatchNorm by stored statistics with what stands behind it, where no convolution is before: one pass over memory."""

import numpy as np
import pytest
from pairs import INPUT, NORM, RELU, pair, same

POOL = 'layer { name: "p" type: "Pooling" bottom: "x" top: "c" pooling_param { kernel_size: 2 stride: 2 } }\n'
FLAT = 'layer { name: "p" type: "Flatten" bottom: "x" top: "c" }\n'
OWN = NORM.splitlines()[0].replace("}", "batch_norm_param { scale_bias: true } }") + "\n"
SUM = (
    'layer { name: "o" type: "Power" bottom: "x" top: "o" power_param { power: 2 } }\n'
    'layer { name: "q" type: "Pooling" bottom: "o" top: "q" pooling_param { kernel_size: 2 stride: 2 } }\n'
)
ADDED = 'layer { name: "e" type: "Eltwise" bottom: "q" bottom: "c" top: "e" }\n'


def types(net) -> list[list[str]]:
    return [[node.layer.type for node in unit.nodes] for unit in net.plan.units if len(unit.nodes) > 1]


@pytest.mark.parametrize(
    ("text", "one"),
    [
        (POOL + NORM + RELU, ["BatchNorm", "Scale", "ReLU"]),
        (FLAT + NORM + RELU, ["BatchNorm", "Scale", "ReLU"]),
        (POOL + OWN + RELU, ["BatchNorm", "ReLU"]),
        (SUM + POOL + NORM + ADDED, ["BatchNorm", "Scale", "Eltwise"]),
    ],
    ids=["maps", "rows", "scale inside", "sum"],
)
def test_is_one_with_what_follows(text: str, one: list[str]) -> None:
    nets = pair(INPUT + text)
    assert one in types(nets[0])
    same(nets)


def test_a_large_mean_costs_no_digits() -> None:
    net, _ = pair(INPUT + POOL + NORM)
    for blob, value in zip(net.params["bn"], (1000, 0.01, 1), strict=True):
        blob.data[...] = value
    net.blobs["x"].data[...] = 1000 + np.random.default_rng(3).standard_normal(net.blobs["x"].shape) / 10
    net.forward()
    pooled = (
        net.blobs["x"].data[:, :, : 9 // 2 * 2].reshape(2, 6, 4, 2, 11)[..., :10].reshape(2, 6, 4, 2, 5, 2).max((3, 5))
    )
    factor, offset = (blob.data.astype(float).reshape(-1, 1, 1) for blob in net.params["s"])
    expected = (pooled.astype(float) - 1000) / np.sqrt(0.01 + 1e-5) * factor + offset
    np.testing.assert_allclose(net.blobs["c"].data[:, :, :4, :5], expected, rtol=0, atol=1e-5)
