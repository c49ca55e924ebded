"""Words that every room uses: phases, shapes, and how names and shapes are written in messages."""

import difflib
import math
from collections.abc import Callable, Iterable, Sequence

Shape = tuple[int, ...]
#: The phases of a net, as Caffe numbers them.
TRAIN, TEST = 0, 1
#: The types of a solver, as Caffe spells them; ``caffelite.solvers.rules`` tells what each does.
SOLVER_TYPES = ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")
#: Letters of a name that others are suggested for.
_LONGEST_NAME = 200


def text_of(shape: Shape) -> str:
    """Write a shape as people do: ``100×32×16×16``."""
    return "×".join(str(n) for n in shape) if shape else "scalar"


def columns(lines: Iterable[Sequence[str]]) -> str:
    """Write rows of equally many cells below each other, each column as wide as its widest cell."""
    rows = [[" ".join(cell.split()) for cell in line] for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def count(shape: Sequence[int]) -> int:
    """Return the number of elements of a shape."""
    return math.prod(shape)


def quoted(name: str) -> str:
    """Quote a name as error messages do."""
    return f'"{name}"'


def printable(text: str) -> str:
    """Return a text in one line, with a replacement character for each that a terminal or a page would act on."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def shortened(text: str, most: int) -> str:
    """Return a text in one line, without the middle of what has more letters than ``most``."""
    text = printable(text)
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"


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


def close_names(name: str, known: Iterable[str], most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return the known names that look most like ``name``, best first (Ratcliff and Obershelp's measure, 0 to 1)."""
    return difflib.get_close_matches(name, list(known), most, cutoff)


def did_you_mean(
    name: str,
    known: Iterable[str],
    otherwise: str = "",
    *,
    find: Callable[[str, Iterable[str]], Sequence[str]] = close_names,
    write: Callable[[str], str] = quoted,
) -> str:
    """Return the end of an error about a name that is not known: ``; did you mean "conv1"?``.

    Parameters
    ----------
    name : str
    known : iterable of str
        The names there are.
    otherwise : str, optional
        What is said where no name is near: ``it can be "a", "b"``; by default nothing.
    find : callable, optional
        ``find(name, known)`` returns the names that are near: by default one, by the look of the whole name.
    write : callable, optional
        Returns what is shown for a near name, by default the name in quotes.
    """
    # The measures take time that grows with the length, or as its square.
    near = find(name, known) if len(name) <= _LONGEST_NAME else []
    if near:
        return f"; did you mean {' or '.join(map(write, near))}?"
    return f"; {otherwise}" if otherwise else ""
