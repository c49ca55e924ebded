"""Parameters from a file into a net, by layer name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np

from caffelite.errors import ShapeError, WeightsError
from caffelite.layers.contract.layer import Layer
from caffelite.schema.weights import LayerWeights
from caffelite.words import Shape, close_names, columns, did_you_mean, quoted, text_of

#: A layer, what became of it, its shapes in the file, its shapes in the net.
Row = tuple[str, str, str, str]


@dataclass(slots=True)
class Transfer:
    """What was taken from a weights file, and what does not match.

    Attributes
    ----------
    matches : list of (str, str, str, str)
        The layers that were set: name, what became of it, its shapes in the file, its shapes in the net.
    rows : list of (str, str, str, str)
        The same of what does not match.
    """

    matches: list[Row] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    @property
    def taken(self) -> list[str]:
        """The layers that were set."""
        return [row[0] for row in self.matches]

    @property
    def untrained(self) -> list[str]:
        """The layers of the net that were left as they were."""
        return [name for name, _, _, own_shapes in self.rows if own_shapes]

    def table(self) -> str:
        """Return a table of all layers; empty where each matches one of its own name."""
        if not self.rows and all(what == "taken" for _, what, _, _ in self.matches):
            return ""
        return columns([("layer", "", "in the file", "in the net"), *self.matches, *self.rows])


def transfer(
    source: Iterable[LayerWeights],
    layers: Iterable[Layer],
    file: str,
    net: str,
    layer_map: Mapping[str, str] | None = None,
    skip_mismatch: bool = False,
) -> Transfer:
    """Set the parameters of the layers that ``source`` names; nothing is set where something does not fit.

    Parameters
    ----------
    source : iterable of LayerWeights
    layers : iterable of Layer
        Those of the net.
    file, net : str
        What the two are called in errors.
    layer_map : mapping of str to str, optional
        From names in the file to names in the net; what the file has under the second name itself is left out.
    skip_mismatch : bool, optional
        A layer with other shapes, or another number of blobs, is left as it is, where it would be an error.

    Returns
    -------
    Transfer

    Raises
    ------
    WeightsError
        A layer has another number of blobs, none of the layers fits, or ``layer_map`` has a name that there is not.
    ShapeError
        A blob has another shape.
    """
    with_blobs: dict[str, Layer] = {}
    for layer in layers:
        if layer.blobs:
            with_blobs.setdefault(layer.name, layer)
    given = [weights for weights in source if weights.blobs]
    renamed = dict(layer_map or {})
    _check_map(renamed, given, with_blobs, file, net)
    result = Transfer()
    problems: list[WeightsError | ShapeError] = []
    pairs: list[tuple[LayerWeights, Layer]] = []
    for weights in given:
        name = renamed.get(weights.name, "" if weights.name in renamed.values() else weights.name)
        target = with_blobs.get(name)
        if target is None:
            result.rows.append((weights.name, "in the file only", _shapes(weights.blobs), ""))
            continue
        weights.blobs = target.convert_blobs(weights.blobs, f'{file}: layer "{weights.name}"')
        shapes = _shapes(weights.blobs), _shapes([blob.data for blob in target.blobs])
        problem = _mismatch(weights, target, file)
        if problem is None:
            pairs.append((weights, target))
            result.matches.append((name, "taken" if name == weights.name else f"taken from {weights.name}", *shapes))
        else:
            problems.append(problem)
            kind = "shape differs" if isinstance(problem, ShapeError) else "number of blobs differs"
            result.rows.append((name, f"{kind}, left as it is" if skip_mismatch else kind, *shapes))
    met = {name for name, _, _, own_shapes in (*result.matches, *result.rows) if own_shapes}
    for name, layer in with_blobs.items():
        if name not in met:
            result.rows.append((name, "in the net only", "", _shapes([blob.data for blob in layer.blobs])))
    if problems and not skip_mismatch:
        raise type(problems[0])(str(problems[0]), result.table() if len(problems) > 1 else "")
    if given and not pairs and with_blobs:
        raise WeightsError(_nothing_fits(given, with_blobs, file, net), result.table() if problems else "")
    # Only now, when all fits, is anything changed.
    for weights, target in pairs:
        for blob, values in zip(target.blobs, weights.blobs, strict=True):
            blob.data[...] = values.reshape(blob.shape)
        weights.release()
    return result


def _check_map(
    renamed: Mapping[str, str], given: Sequence[LayerWeights], layers: Mapping[str, Layer], file: str, net: str
) -> None:
    in_file = [weights.name for weights in given]
    for old, new in renamed.items():
        if old not in in_file:
            raise WeightsError(
                f"{file}: it has no weights of a layer {quoted(old)}, which is to go to {quoted(new)}"
                + did_you_mean(old, in_file)
            )
        if new not in layers:
            raise WeightsError(
                f"{file}: {quoted(old)} is to go to {quoted(new)}, but no layer with weights of the net {quoted(net)} "
                "has this name" + did_you_mean(new, layers)
            )
    twice = next((new for new in renamed.values() if list(renamed.values()).count(new) > 1), None)
    if twice is not None:
        raise WeightsError(f"two layers of {file} are to go to {quoted(twice)}")


def _mismatch(weights: LayerWeights, layer: Layer, file: str) -> WeightsError | ShapeError | None:
    where = f'{file}: layer "{weights.name}"'
    hint = "rename the layer, or give --skip-mismatch, to leave it as it is"
    if len(layer.blobs) != len(weights.blobs):
        return WeightsError(f"{where} has {len(weights.blobs)} blobs, the net has {len(layer.blobs)}; {hint}")
    for j, (blob, values) in enumerate(zip(layer.blobs, weights.blobs, strict=True)):
        if not _same_shape(blob.shape, values.shape):
            return ShapeError(
                f"{where}: blob {j} has shape {text_of(values.shape)}, the net has {text_of(blob.shape)}; {hint}"
            )
    return None


def _nothing_fits(given: list[LayerWeights], layers: Mapping[str, Layer], file: str, net: str) -> str:
    if any(weights.name in layers for weights in given):
        return f"{file}: none of its {len(given)} layers with weights fits the net {quoted(net)}"
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
