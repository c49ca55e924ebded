"""New shapes of a net's blobs, taken up by the whole net."""

from caffelite.net import Net
from caffelite.pycaffe.compiling import told


def take_shapes(net: Net) -> None:
    """Plan a net anew where its blobs were given other shapes; what the inputs hold is kept.

    Raises
    ------
    ShapeError
        The layers do not fit these shapes.
    """
    if not net.graph.stale:
        return
    values = {name: net.blobs[name].data for name in net.inputs}
    with told():
        net.reshape()
    for name, held in values.items():
        net.blobs[name].data[...] = held
