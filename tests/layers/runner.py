"""One layer by itself: a net of inputs and the layer, for tests of values."""

from collections.abc import Sequence

import numpy as np

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TRAIN


def layer_net(
    kind: str,
    settings: str,
    *shapes: Sequence[int],
    tops: int = 1,
    phase: int = TRAIN,
    **options: object,
) -> Net:
    """Return a net of inputs x0, x1 … of these shapes and the layer L with tops y0, y1 …"""
    text = "force_backward: true\n"
    for j, shape in enumerate(shapes):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "x{j}" type: "Input" top: "x{j}" input_param {{ shape {{ {dims} }} }} }}\n'
    bottoms = " ".join(f'bottom: "x{j}"' for j in range(len(shapes)))
    names = " ".join(f'top: "y{j}"' for j in range(tops))
    text += f'layer {{ name: "L" type: "{kind}" {bottoms} {names} {settings} }}\n'
    return Net(net_from_text(text, "net.prototxt"), phase, keep=True, **options)  # type: ignore[arg-type]


def forward(net: Net, *inputs: np.ndarray) -> np.ndarray:
    """Set the inputs, run the net, return its first top."""
    for j, x in enumerate(inputs):
        net.blobs[f"x{j}"].data[...] = x
    net.forward()
    return np.array(net.blobs[net.layers[-1].param.top[0]].data)


def gradients(net: Net, dy: np.ndarray) -> list[np.ndarray]:
    """Return the gradients of the inputs, and of the parameters, for that of the first top."""
    net.zero_grad()
    net.blobs["y0"].diff[...] = dy  # type: ignore[index]
    net.backward()
    found = [net.blobs[name].diff for name in net.inputs] + [blob.diff for blob in net.layers[-1].blobs]
    return [np.array(d) for d in found if d is not None]
