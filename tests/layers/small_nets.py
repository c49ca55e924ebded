"""Nets of one layer ``L`` behind inputs ``x0``, ``x1`` …, for tests."""

from typing import Any

import numpy as np

from caffelite.layers.contract.layer import Layer
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST


def single(
    kind: str, arrays: list[Any], settings: str = "", tops: int = 1, phase: int = TEST, force: bool = False
) -> Net:
    """Return a net of one layer whose inputs hold these arrays; ``force``: all of them get a gradient."""
    text, values = "force_backward: true\n" if force else "", [np.asarray(a, np.float32) for a in arrays]
    for i, value in enumerate(values):
        dims = " ".join(f"dim: {n}" for n in value.shape)
        text += f'layer {{ name: "i{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(values)))
    names = " ".join(f'top: "y{i}"' for i in range(tops))
    text += f'layer {{ name: "L" type: "{kind}" {bottoms} {names} {settings} }}\n'
    net = Net(net_from_text(text, "net.prototxt"), phase, keep=True)
    for i, value in enumerate(values):
        net.blobs[f"x{i}"].data[...] = value
    return net


def tops_of(kind: str, arrays: list[Any], settings: str = "", tops: int = 1, **options: Any) -> list[np.ndarray]:
    """Return the tops of one layer."""
    net = single(kind, arrays, settings, tops, **options)
    net.forward()
    return [net.blobs[f"y{i}"].data.copy() for i in range(tops)]


def the_layer(net: Net) -> Layer:
    """Return the layer under test."""
    return net.layers[-1]
