"""Words that every room uses: phases, shapes, and how names and shapes are written in messages."""

import math
from collections.abc import Sequence

Shape = tuple[int, ...]
#: The phases of a net, as Caffe numbers them.
TRAIN, TEST = 0, 1


def text_of(shape: Shape) -> str:
    """Write a shape as people do: ``100×32×16×16``."""
    return "×".join(str(n) for n in shape) if shape else "scalar"


def count(shape: Sequence[int]) -> int:
    """Return the number of elements of a shape."""
    return math.prod(shape)


def quoted(name: str) -> str:
    """Quote a name as error messages do."""
    return f'"{name}"'


def distance(a: str, b: str) -> int:
    """Return how many changes make ``a`` into ``b``; swapped neighbours are one (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]
