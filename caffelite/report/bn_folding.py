"""What folding changes on a net's own test images."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from caffelite.batchnorm.fold import BECAME_SCALE, fold
from caffelite.errors import NetError
from caffelite.net import Net


@dataclass(frozen=True, slots=True)
class Folding:
    """What folding changes.

    Attributes
    ----------
    layers : dict of str to str
        Where each BatchNorm, Scale and Bias is now.
    images : int
    difference : float
        The largest difference of a score, by the largest score.
    changed : int
        Images whose best class is another one.
    """

    layers: dict[str, str]
    images: int
    difference: float
    changed: int

    @property
    def left(self) -> list[str]:
        """The layers that nothing could take in."""
        return [name for name, place in self.layers.items() if place == BECAME_SCALE]


def folding(net: Net, images: int, batch: int, advance: Callable[[int], object]) -> Folding:
    """Hold the folded net's scores against those of the net as it is.

    Parameters
    ----------
    net : Net
        In TEST, with its weights and its data, planned with ``keep``.
    images, batch : int
        How many to look at, and how many a pass has.
    advance : callable
        Takes the images of each pass.

    Raises
    ------
    NetError
        A layer cannot be folded, or nothing of the net is left to compare.
    """
    folded = fold(net, check=False)
    # A loss leaves its Softmax: under a name that the net does not have, or that of the loss.
    shared = [name for name in net.blobs if name in folded.net.blobs and name not in folded.net.inputs]
    scores = [name for name in shared if net.blobs[name].shape == folded.net.blobs[name].shape][-1:]
    if not scores:
        raise NetError(f"{net.document.filename}: no blob of the net is one of the folded net")
    sources = {top.name: top for node in net.graph.nodes if node.layer.facts.source for top in node.tops}
    far, changed = 0.0, 0
    for _ in range(images // batch):
        net.forward()
        for name in folded.net.inputs:
            folded.net.blobs[name].data[...] = net.plan.blob(sources[name]).data
        folded.net.forward()
        one, other = (side.blobs[scores[0]].data.reshape(batch, -1) for side in (net, folded.net))
        # Unlike max, this keeps what is not a number.
        far = float(np.maximum(far, np.abs(one - other).max() / max(np.abs(one).max(), 1e-30)))
        changed += int((one.argmax(1) != other.argmax(1)).sum())
        advance(batch)
    return Folding(folded.layers, images, far, changed)
