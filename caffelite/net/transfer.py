"""Parameters from a file into a net, by layer name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from caffelite.errors import ShapeError, WeightsError
from caffelite.layers.contract.layer import Layer
from caffelite.schema.weights import LayerWeights
from caffelite.words import Shape, close_names, quoted, text_of


@dataclass(slots=True)
class Transfer:
    """What was taken from a weights file, and what does not match.

    Attributes
    ----------
    taken : list of str
        The layers that were set.
    rows : list of (str, str, str, str)
        A layer, what is the matter with it, its shapes in the file, its shapes in the net.
    """

    taken: list[str] = field(default_factory=list)
    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def table(self) -> str:
        """Return the layers that do not match as a table; empty where all do."""
        if not self.rows:
            return ""
        lines = [("layer", "", "in the file", "in the net"), *self.rows]
        widths = [max(len(line[j]) for line in lines) for j in range(4)]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )


def transfer(source: Iterable[LayerWeights], layers: Iterable[Layer], file: str, net: str) -> Transfer:
    """Set the parameters of the layers that ``source`` names; nothing is set where something does not fit.

    Parameters
    ----------
    source : iterable of LayerWeights
    layers : iterable of Layer
        Those of the net.
    file, net : str
        What the two are called in errors.

    Returns
    -------
    Transfer

    Raises
    ------
    WeightsError
        A layer has another number of blobs, or none of the layers is in the net.
    ShapeError
        A blob has another shape.
    """
    with_blobs: dict[str, Layer] = {}
    for layer in layers:
        if layer.blobs:
            with_blobs.setdefault(layer.name, layer)
    given = [weights for weights in source if weights.blobs]
    result = Transfer()
    problems: list[WeightsError | ShapeError] = []
    for weights in given:
        target = with_blobs.get(weights.name)
        if target is None:
            result.rows.append((weights.name, "in the file only", _shapes(weights.blobs), ""))
            continue
        weights.blobs = target.convert_blobs(weights.blobs, f'{file}: layer "{weights.name}"')
        problem = _mismatch(weights, target, file)
        if problem is not None:
            problems.append(problem)
            kind = "shape differs" if isinstance(problem, ShapeError) else "number of blobs differs"
            result.rows.append((weights.name, kind, _shapes(weights.blobs), _shapes([b.data for b in target.blobs])))
        result.taken.append(weights.name)
    in_file = {weights.name for weights in given}
    for name, layer in with_blobs.items():
        if name not in in_file:
            result.rows.append((name, "in the net only", "", _shapes([blob.data for blob in layer.blobs])))
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise type(problems[0])(f"{problems[0]}\n{result.table()}")
    if given and not result.taken and with_blobs:
        raise WeightsError(_nothing_fits(given, with_blobs, file, net))
    # Only now, when all fits, is anything changed.
    for weights in given:
        if weights.name in with_blobs:
            for blob, values in zip(with_blobs[weights.name].blobs, weights.blobs, strict=True):
                blob.data[...] = values.reshape(blob.shape)
            weights.release()
    return result


def _mismatch(weights: LayerWeights, layer: Layer, file: str) -> WeightsError | ShapeError | None:
    where = f'{file}: layer "{weights.name}"'
    if len(layer.blobs) != len(weights.blobs):
        return WeightsError(
            f"{where} has {len(weights.blobs)} blobs, the net has {len(layer.blobs)}; "
            "rename the layer to leave it as it is"
        )
    for j, (blob, values) in enumerate(zip(layer.blobs, weights.blobs, strict=True)):
        if not _same_shape(blob.shape, values.shape):
            return ShapeError(
                f"{where}: blob {j} has shape {text_of(values.shape)}, the net has {text_of(blob.shape)}; "
                "rename the layer to leave it as it is"
            )
    return None


def _nothing_fits(given: list[LayerWeights], layers: Mapping[str, Layer], file: str, net: str) -> str:
    near = close_names(given[0].name, layers)
    hint = f" (nearest: {quoted(near[0])})" if near else ""
    return (
        f"{file}: none of its {len(given)} layers with weights is in the net {quoted(net)}; "
        f"its first is {quoted(given[0].name)}{hint}"
    )


def _shapes(blobs: Sequence[np.ndarray]) -> str:
    return ", ".join(text_of(blob.shape) for blob in blobs)


def _same_shape(one: Shape, other: Shape) -> bool:
    """Whether two shapes agree; old files write every blob with four axes, the missing ones 1."""
    if one == other:
        return True
    if 4 not in (len(one), len(other)):
        return False
    if 1 in (len(one), len(other)):
        # A vector, at whichever of the four axes: 1×1×1×C as old Caffe has it, 1×C×1×1 as several forks.
        return [n for n in one if n != 1] == [n for n in other if n != 1]
    return all(a == b for a, b in zip_longest(reversed(one), reversed(other), fillvalue=1))
