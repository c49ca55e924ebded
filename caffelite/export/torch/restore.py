"""What a PyTorch module has learned, back in the blobs of the net that it was made of."""

from collections.abc import Mapping

import numpy as np

from caffelite.errors import WeightsError
from caffelite.export.torch.convert import convert
from caffelite.net import Net
from caffelite.words import did_you_mean, quoted, text_of


def restore(net: Net, arrays: Mapping[str, np.ndarray], file: str) -> None:
    """Set the parameters of a net by what ``state_dict`` of its module holds.

    The module is made once more: its state is views of the net's blobs, so that what has been changed in the one
    direction (a name, a shape, an order of axes) is undone in the other by being the same.

    Parameters
    ----------
    net : Net
        As for :func:`caffelite.export.torch.convert.convert`; its own weights do not count.
    arrays : mapping of str to ndarray
        By the names of ``state_dict``. Of parameters that are one in the net it is enough to have one.
    file : str
        Where they come from, for errors.

    Raises
    ------
    NetError
        A layer has no form in PyTorch.
    WeightsError
        An array is missing, is not the module's, or has another shape or type; two that are one in the net differ.
    """
    state = convert(net, {}).state
    module = f"the PyTorch module of {net.document.filename}"
    for name, array in arrays.items():
        if name not in state:
            raise WeightsError(f"{file}: {module} has no {quoted(name)}{did_you_mean(name, state)}")
        place = state[name]
        if array.shape != place.shape:
            shapes = f"{text_of(array.shape)}, expected {text_of(place.shape)}"
            raise WeightsError(f"{file}: {quoted(name)} is {shapes} as in {module}")
        if (array.dtype.kind == "f") != (place.dtype.kind == "f"):
            expected = "float32" if place.dtype.kind == "f" else "int64"
            raise WeightsError(f"{file}: {quoted(name)} has numbers of type {array.dtype}, expected {expected}")
        place[...] = array
    for name, place in state.items():
        others = (other for other in arrays if other != name and np.may_share_memory(place, state[other]))
        if name not in arrays:
            if next(others, None) is None:
                raise WeightsError(f"{file}: {quoted(name)} is missing, which {module} has")
        # Another array of the file has been written over it.
        elif not np.array_equal(place, arrays[name].astype(place.dtype), equal_nan=True):
            raise WeightsError(
                f"{file}: {quoted(name)} and {quoted(next(others))} are one blob in {net.document.filename}, and differ"
            )
    net.changed()
