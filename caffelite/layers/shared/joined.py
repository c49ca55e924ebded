"""What Concat and Slice share: copies between a blob and its parts along an axis."""

from collections.abc import Iterator, Sequence

import numpy as np

from caffelite.kernels.engine.arrays import copy_rows
from caffelite.layers.contract.blobs import Step
from caffelite.words import count

_Rows = tuple[np.ndarray, tuple[int, int]]


def _parts(
    whole: np.ndarray, parts: Sequence[np.ndarray | None], axis: int, sizes: Sequence[int]
) -> Iterator[tuple[_Rows, _Rows, int, int]]:
    """Yield for each part that is there its place in the whole, its own, and the number of rows and their width."""
    rows, inner = count(whole.shape[:axis]), count(whole.shape[axis + 1 :])
    pitch, begin = whole.shape[axis] * inner, 0
    for part, size in zip(parts, sizes, strict=True):
        width = size * inner
        if part is not None and part.size:
            yield (whole, (begin, pitch)), (part, (0, width)), rows, width
        begin += width


def join(whole: np.ndarray, parts: Sequence[np.ndarray | None], axis: int, sizes: Sequence[int]) -> list[Step]:
    """Return the steps that write the parts side by side into the whole; None is a part that is not there."""
    return [copy_rows(*part, *place, rows, width) for place, part, rows, width in _parts(whole, parts, axis, sizes)]


def cut_apart(whole: np.ndarray, parts: Sequence[np.ndarray | None], axis: int, sizes: Sequence[int]) -> list[Step]:
    """Return the steps that read the parts out of the whole; None is a part that nobody asks for."""
    return [copy_rows(*place, *part, rows, width) for place, part, rows, width in _parts(whole, parts, axis, sizes)]
