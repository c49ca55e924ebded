"""One layer by itself: a net of inputs and the layer, for tests of values."""

from typing import Any

import numpy as np

from caffelite.layers.contract.layer import Layer
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TRAIN


def layer_net(
    kind: str,
    settings: str,
    *inputs: Any,
    tops: int = 1,
    phase: int = TRAIN,
    force: bool = True,
    **options: Any,
) -> Net:
    """Return a net of inputs x0, x1 … and the layer L with tops y0, y1 …

    Parameters
    ----------
    kind, settings : str
        The layer's type, and what else its message says.
    *inputs : array, or tuple of int
        What an input holds, or its shape alone.
    force : bool, optional
        ``force_backward``: every blob that can have a gradient gets one.
    **options
        Of :class:`~caffelite.net.Net`.
    """
    text = "force_backward: true\n" if force else ""
    values = [None if isinstance(one, tuple) else np.asarray(one, np.float32) for one in inputs]
    for j, (one, value) in enumerate(zip(inputs, values, strict=True)):
        dims = " ".join(f"dim: {n}" for n in (one if value is None else value.shape))
        text += f'layer {{ name: "x{j}" type: "Input" top: "x{j}" input_param {{ shape {{ {dims} }} }} }}\n'
    bottoms = " ".join(f'bottom: "x{j}"' for j in range(len(inputs)))
    names = " ".join(f'top: "y{j}"' for j in range(tops))
    text += f'layer {{ name: "L" type: "{kind}" {bottoms} {names} {settings} }}\n'
    net = Net(net_from_text(text, "net.prototxt"), phase, keep=True, **options)
    for j, value in enumerate(values):
        if value is not None:
            net.blobs[f"x{j}"].data[...] = value
    return net


def the_layer(net: Net) -> Layer:
    """Return the layer under test."""
    return net.layers[-1]


def forward(net: Net, *inputs: np.ndarray) -> np.ndarray:
    """Set the inputs, run the net, return its first top."""
    for j, x in enumerate(inputs):
        net.blobs[f"x{j}"].data[...] = x
    return outputs(net)[0]


def outputs(net: Net) -> list[np.ndarray]:
    """Run the net, return the tops of the layer."""
    net.forward()
    return [np.array(net.blobs[name].data) for name in the_layer(net).param.top]


def gradients(net: Net, dy: np.ndarray) -> list[np.ndarray]:
    """Return the gradients of the inputs, and of the parameters, for that of the first top."""
    net.zero_grad()
    net.blobs["y0"].diff[...] = dy  # type: ignore[index]
    net.backward()
    arrays = [net.blobs[name].diff for name in net.inputs] + [blob.diff for blob in the_layer(net).blobs]
    return [np.array(d) for d in arrays if d is not None]
