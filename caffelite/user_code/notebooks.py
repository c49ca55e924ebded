"""Jupyter notebooks as scripts: the code cells in order, each below a line ``# %% cell N``."""

import json
import re
from collections.abc import Iterator
from typing import Any

from caffelite.errors import ScriptError

#: Begins a cell in a script, for many editors too.
MARK = re.compile(r"# %% cell (\d+)\n?")
#: What IPython runs as Python in its own way.
_TRANSPARENT = re.compile(r"(\s*)%%?(?:time|prun|capture)\b(?:\s+(?=\S))?(.*)", re.DOTALL)
_MAGIC = re.compile(r"(\s*)(%{1,2}\s*[A-Za-z_]{2,}|[!?]\s*[\w./~$]|\?)")


def script(data: bytes, name: str) -> tuple[str, list[str]]:
    """Return the code of a notebook, and what of it is not Python and is left out.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What it is called in errors.

    Returns
    -------
    str
        The code cells, numbered as they stand among the code cells, from 1.
    list of str
        A sentence for each line or cell that is left out: magics and commands of a shell.

    Raises
    ------
    ScriptError
        It is no notebook.
    """
    left_out: list[str] = []
    parts = []
    for number, source in enumerate(_cells(data, name), 1):
        parts.append(f"# %% cell {number}\n")
        lines = source.replace("\r\n", "\n").removesuffix("\n").split("\n")
        where = f"{name}, cell {number}"
        first = next((line for line in lines if line.strip()), "")
        if first.startswith("%%") and not _TRANSPARENT.match(first):
            left_out.append(f"{where}: left out, all of it: {first.strip()}")
            lines = [f"# {line}" for line in lines]
        parts += [f"{line}\n" for line in _python(lines, where, left_out)]
    return "".join(parts), left_out


def _cells(data: bytes, name: str) -> Iterator[str]:
    """Yield the source of each code cell, of both formats that there are (nbformat 3 and 4)."""
    try:
        notebook = json.loads(data)
        sheets = notebook["worksheets"] if "worksheets" in notebook else [notebook]
        cells: list[Any] = [cell for sheet in sheets for cell in sheet["cells"]]
        for cell in cells:
            if cell["cell_type"] == "code":
                source = cell["source"] if "source" in cell else cell["input"]
                yield source if isinstance(source, str) else "".join(source)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ScriptError(f"{name}: it is no Jupyter notebook") from None


def _python(lines: list[str], where: str, left_out: list[str]) -> Iterator[str]:
    """Yield lines of Python, one for each of a cell."""
    continued = False
    for line in lines:
        if continued:
            continued = line.endswith("\\")
            yield f"# {line}"
        elif timed := _TRANSPARENT.match(line):
            yield timed[1] + timed[2] if not line.lstrip().startswith("%%") else ""
        elif magic := _MAGIC.match(line):
            left_out.append(f"{where}: left out: {line.strip()}")
            continued = line.endswith("\\")
            yield f"{magic[1]}pass  # {line.strip()}"
        else:
            yield line
