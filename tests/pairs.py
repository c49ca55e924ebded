"""Small nets, as they run and with every layer on its own: what is left out or shared must not change a number."""

import numpy as np

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

INPUT = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 6 dim: 9 dim: 11 } } }\n'
NORM = (
    'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" }\n'
    'layer { name: "s" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true filler { type: "uniform" min: -1 } '
    'bias_filler { type: "uniform" min: -1 } } }\n'
)
RELU = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" relu_param { negative_slope: 0.1 } }\n'
SIGMOID = 'layer { name: "g" type: "Sigmoid" bottom: "c" top: "out" }\n'
FORKS = 'layer { name: "forks" type: "BN" bottom: "c" top: "c" bn_param { %s } }\n'


def convolution(settings: str, kind: str = "Convolution", bottom: str = "x") -> str:
    return (
        f'layer {{ name: "c" type: "{kind}" bottom: "{bottom}" top: "c" convolution_param {{ {settings} '
        'weight_filler { type: "gaussian" std: 0.3 } bias_filler { type: "gaussian" std: 1 } } }\n'
    )


def pair(text: str) -> tuple[Net, Net]:
    """Return the net as it runs, and with every layer on its own."""
    nets = Net(net_from_text(text, "net.prototxt"), TEST), Net(net_from_text(text, "net.prototxt"), TEST, keep=True)
    rng = np.random.default_rng(1)
    for name, blobs in nets[0].params.items():
        for i, blob in enumerate(blobs):
            if name == "bn":
                blob.data[...] = 3 if i == 2 else rng.uniform(1, 2, blob.shape)
            elif name == "forks":
                blob.data[...] = rng.uniform(1, 2, blob.shape)
            nets[1].params[name][i].data[...] = blob.data
    return nets


def same(nets: tuple[Net, Net]) -> None:
    x = np.random.default_rng(2).standard_normal(nets[0].blobs["x"].shape)
    for net in nets:
        net.blobs["x"].data[...] = x
        net.forward()
    for name in nets[0].outputs:
        expected = nets[1].blobs[name].data
        np.testing.assert_allclose(nets[0].blobs[name].data, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
