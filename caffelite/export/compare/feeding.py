"""The same input for both sides: drawn, out of a file, or the one that stands beside saved blobs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from caffelite.data.images import decode_image
from caffelite.data.resizing import resize
from caffelite.errors import DataError
from caffelite.export.compare.sides import Blobs, SavedSide, Side
from caffelite.schema.npz import read_npy, read_npz
from caffelite.words import Shape, did_you_mean, quoted, text_of

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp")


def feed(sides: Sequence[Side], file: Path | None, shapes: Mapping[str, Shape], seed: int) -> list[Blobs]:
    """Return for each side what it is fed; nothing for saved blobs.

    Parameters
    ----------
    sides : sequence of Side
        One or two.
    file : path or None
        ``.npz`` with the names of the inputs, ``.npy`` or an image where there is one input. Without it the input is
        that of saved blobs on the other side, and else drawn.
    shapes : mapping of str to tuple of int
        Of inputs, where they are to be others than those of the sides.
    seed : int

    Raises
    ------
    DataError
        The inputs of the sides do not match, a size is not known, a file has other inputs.
    """
    models = [side for side in sides if side.inputs]
    if not models:
        if file is not None:
            raise DataError(f"nothing is run here, so nothing reads {file}: give a net or an ONNX model as a side")
        return [{} for _ in sides]
    names = _names(models)
    known = {name for side in models for name in side.inputs}
    for name in shapes:
        if name not in known:
            hint = did_you_mean(name, known, f"the inputs are {', '.join(map(quoted, sorted(known)))}")
            raise DataError(f"a shape is given for {quoted(name)}, which neither side reads{hint}")
    saved = [side for side in sides if isinstance(side, SavedSide)]
    first = models[0]
    if file is not None:
        values = _from_file(file, first)
    elif saved:
        values = _from_blobs(saved[0].blobs, first.inputs, saved[0].name)
    else:
        sizes = {name: _sizes(models, names, name, shapes) for name in first.inputs}
        values = first.draw(sizes, np.random.default_rng(seed))
    renamed = {names[name]: array for name, array in values.items()}
    return [{} if side not in models else values if side is first else renamed for side in sides]


def _names(models: Sequence[Side]) -> dict[str, str]:
    """Return for each input of the first model the other's name of it: the same, or the next one that has none."""
    first, last = models[0], models[-1]
    free = [name for name in last.inputs if name not in first.inputs]
    names = {name: name if name in last.inputs else free.pop(0) if free else "" for name in first.inputs}
    if free or not all(names.values()):
        one, other = (f"{model.name} reads {', '.join(map(quoted, model.inputs))}" for model in (first, last))
        raise DataError(f"the inputs do not match: {one}, {other}")
    return names


def _sizes(models: Sequence[Side], names: Mapping[str, str], name: str, given: Mapping[str, Shape]) -> Shape:
    """Return the shape of an input that both take: what a model demands goes before what a net has."""
    if name in given or names[name] in given:
        return given.get(name) or given[names[name]]
    known = [m.inputs[n] for m, n in zip(models, (name, names[name]), strict=False)]
    if len({len(shape) for shape in known}) > 1:
        told = ", ".join(
            f"{text_of(shape).replace('-1', 'any')} in {m.name}" for m, shape in zip(models, known, strict=True)
        )
        raise DataError(f"the inputs do not match: {quoted(name)} is {told}")
    ordered = [shape for _, shape in sorted(zip(models, known, strict=True), key=lambda pair: pair[0].reshapes)]
    sizes = [next((n for n in axis if n != -1), -1) for axis in zip(*ordered, strict=True)]
    if sizes[:1] == [-1]:
        sizes[0] = 1
    if -1 in sizes:
        raise DataError(
            f"the shape of {quoted(name)} of {models[0].name} is not known; give it: --shape {name}:1,C,H,W"
        )
    return tuple(sizes)


def _from_file(path: Path, side: Side) -> Blobs:
    if path.suffix == ".npz":
        return _from_blobs(read_npz(path), side.inputs, str(path))
    if path.suffix != ".npy" and path.suffix.lower() not in _IMAGES:
        hint = f"it can be .npz, .npy, {', '.join(_IMAGES)}"
        raise DataError(
            f"{path}: the ending of an input says what it is, and {path.suffix or 'none'} is not known; {hint}"
        )
    if len(side.inputs) > 1:
        inputs = ", ".join(map(quoted, side.inputs))
        raise DataError(f"{path} is one array, and {side.name} reads {inputs}; give an .npz file with these names")
    ((name, shape),) = side.inputs.items()
    return {name: read_npy(path) if path.suffix == ".npy" else _image(path, shape, name)}


def _from_blobs(blobs: Blobs, inputs: Mapping[str, Shape], source: str) -> Blobs:
    """Return the inputs out of arrays: by name; a single one may also be the first array, where its shape fits."""
    values = {}
    first = next(iter(blobs.values()))
    for name, shape in inputs.items():
        if name in blobs:
            values[name] = blobs[name]
        elif len(inputs) == 1 and first.ndim == len(shape) and first.shape[1:] == shape[1:]:
            values[name] = first
        else:
            hint = did_you_mean(name, blobs, f"it has {', '.join(list(blobs)[:4])}")
            raise DataError(f"{source}: there is no array for the input {quoted(name)}, {text_of(shape)}{hint}")
    return values


def _image(path: Path, shape: Shape, name: str) -> np.ndarray:
    """Return an image as Caffe's tools read it, blue first and 0 to 255, in the size of the input."""
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise DataError(f"{path}: an image is 1 or 3 channels, and the input {quoted(name)} is {text_of(shape)}")
    image = decode_image(path, str(path), color=shape[1] == 3)
    height, width = (own if n == -1 else n for n, own in zip(shape[2:], image.shape[1:], strict=True))
    return resize(image, height, width)[None].astype(np.float32)
