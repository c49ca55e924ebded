"""Parameters from a file into a net, by layer name."""

import difflib
from collections.abc import Iterable, Mapping

from caffelite.errors import ShapeError, WeightsError
from caffelite.layers.base import Blob, Shape, quoted, text_of
from caffelite.schema.weights import LayerWeights


def transfer(source: Iterable[LayerWeights], params: Mapping[str, list[Blob]], file: str, net: str) -> list[str]:
    """Set the parameters of the layers that ``source`` names; nothing is set where something does not fit.

    Parameters
    ----------
    source : iterable of LayerWeights
    params : dict of str to list of Blob
        The parameters of the net.
    file, net : str
        What the two are called in errors.

    Returns
    -------
    list of str
        The layers that were set.

    Raises
    ------
    WeightsError
        A layer has another number of blobs, or none of the layers is in the net.
    ShapeError
        A blob has another shape.
    """
    found = [weights for weights in source if weights.blobs]
    done: list[str] = []
    for weights in found:
        blobs = params.get(weights.name)
        if blobs is None:
            continue
        if len(blobs) != len(weights.blobs):
            raise WeightsError(
                f'{file}: layer "{weights.name}" has {len(weights.blobs)} blobs, the net has '
                f"{len(blobs)}; rename the layer to leave it as it is"
            )
        for j, (blob, values) in enumerate(zip(blobs, weights.blobs, strict=True)):
            if not _same_shape(blob.shape, values.shape):
                raise ShapeError(
                    f'{file}: layer "{weights.name}": blob {j} has shape {text_of(values.shape)}, '
                    f"the net has {text_of(blob.shape)}; rename the layer to leave it as it is"
                )
        done.append(weights.name)
    if found and not done and params:
        near = difflib.get_close_matches(found[0].name, params, n=1)
        hint = f" (nearest: {quoted(near[0])})" if near else ""
        raise WeightsError(
            f"{file}: none of its {len(found)} layers with weights is in the net "
            f"{quoted(net)}; its first is {quoted(found[0].name)}{hint}"
        )
    # Only now, when all fits, is anything changed.
    for weights in found:
        for blob, values in zip(params.get(weights.name, []), weights.blobs, strict=False):
            blob.data[...] = values.reshape(blob.shape)
    return done


def _same_shape(one: Shape, other: Shape) -> bool:
    """Whether two shapes agree; old files write every blob with four axes, the missing ones 1."""

    def bare(shape: Shape) -> list[int]:
        values = list(shape)
        while len(values) > 1 and values[0] == 1:
            values.pop(0)
        return values

    return one == other or (4 in (len(one), len(other)) and bare(one) == bare(other))
