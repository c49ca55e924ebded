"""What is told of a file, and how numbers and sizes are written."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caffelite.words import Shape, columns, count, printable, text_of


@dataclass(slots=True)
class Inspection:
    """What is told of a file.

    Attributes
    ----------
    kind : str
        What it is: ``caffemodel``, ``net``, ``LMDB`` …
    lines : list of str
        What is told of it as a whole.
    table : list of list of str
        What there is of it in detail, the first row with the headings; may be empty.
    data : dict
        The same for programs, as JSON can have it.
    """

    kind: str
    lines: list[str]
    table: list[list[str]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def text(self, path: str) -> str:
        """Return what is printed for people; names in files are not trusted to be printable."""
        below = columns([printable(cell) for cell in row] for row in self.table) if self.table else ""
        return "\n".join(filter(None, [printable(f"{path}: {self.lines[0]}"), below, *map(printable, self.lines[1:])]))


def disk_size(path: Path) -> tuple[int, int]:
    """Return the bytes of a file, or of the files in a folder, and how many of them take room on the disk."""
    files = [file for file in path.iterdir() if file.is_file()] if path.is_dir() else [path]
    states = [os.stat(file) for file in files]
    sizes = [state.st_size for state in states]
    # An LMDB of Caffe's is a file with holes. Windows does not say what is allocated.
    taken = [getattr(state, "st_blocks", -(-state.st_size // 512)) * 512 for state in states]
    return sum(sizes), sum(taken)


def size_text(size: int) -> str:
    """Write a number of bytes: ``1.7 MB``."""
    for limit, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= limit:
            return f"{size / limit:.3g} {unit}" if size < 1000 * limit else f"{size / limit:,.0f} {unit}"
    return f"{size} bytes"


def plural(number: int, what: str) -> str:
    """Write a number of things: ``1 layer``, ``2,000 layers``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def shapes_text(shapes: list[Shape]) -> str:
    """Write shapes one after the other."""
    return ", ".join(map(text_of, shapes))


def total(shapes: list[Shape]) -> int:
    """Return how many numbers blobs of these shapes have."""
    return sum(map(count, shapes))
