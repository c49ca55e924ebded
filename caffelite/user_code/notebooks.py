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
#: What it runs often enough to time it. Once is enough here, and nothing is shown.
_TIMEIT = re.compile(r"(\s*)%timeit\b\s*(?:-[nrp]\s*\d+\s*|-[tcqov]+\s+)*(.*)", re.DOTALL)
_SHELL = re.compile(r"(\s*)!{1,2}\s*[\w./~$]")
_SHELL_CELL = re.compile(r"%%(?:bash|sh)\s*$")
_MAGIC = re.compile(r"(\s*)(%{1,2}\s*[A-Za-z_]{2,}|\?)")

#: Stands in a script that runs commands of a shell.
HELPER = r"""def _shell(command, names):  # what "!command" is in a notebook
    import re, subprocess, sys
    sys.stdout.flush()
    known = lambda match: str(names.get(match[1] or match[2], match[0]))
    subprocess.call(re.sub(r"\$([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\}", known, command), shell=True)
"""


def script(data: bytes, name: str, *, shell: bool = False) -> tuple[str, list[str]]:
    """Return the code of a notebook, and what of it is not Python and is left out.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What it is called in errors.
    shell : bool, optional
        Whether commands of a shell are run: lines that begin with ``!``, cells that begin with ``%%bash``.

    Returns
    -------
    str
        The code cells, numbered as they stand among the code cells, from 1.
    list of str
        A sentence for each line or cell that is left out: magics, and commands of a shell where they are not run.

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
        parts += [f"{line}\n" for line in _cell(lines, f"{name}, cell {number}", left_out, shell)]
    text = "".join(parts)
    return HELPER + text if shell and "_shell(" in text else text, left_out


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


def _cell(lines: list[str], where: str, left_out: list[str], shell: bool) -> Iterator[str]:
    """Yield the lines of Python that a cell becomes."""
    place, first = next(((n, line) for n, line in enumerate(lines) if line.strip()), (0, ""))
    if shell and _SHELL_CELL.match(first):
        yield _call("", "\n".join(lines[place + 1 :]))
    elif first.startswith("%%timeit"):
        # Its names are its own, as in IPython.
        yield "def _timeit():"
        yield f"    pass  # {first.strip()}"
        yield from (f"    {line}" for line in _python(lines[place + 1 :], where, left_out, shell))
        yield "_timeit()"
    elif first.startswith("%%") and not _TRANSPARENT.match(first):
        without = " without --shell" if _SHELL_CELL.match(first) else ""
        left_out.append(f"{where}: left out{without}, all of it: {first.strip()}")
        yield from (f"# {line}" for line in lines)
    else:
        yield from _python(lines, where, left_out, shell)


def _python(lines: list[str], where: str, left_out: list[str], shell: bool) -> Iterator[str]:
    """Yield the lines of Python that lines become."""
    rest = iter(lines)
    for line in rest:
        if timed := _TRANSPARENT.match(line):
            yield timed[1] + timed[2] if not line.lstrip().startswith("%%") else ""
        elif timed := _TIMEIT.match(line):
            yield f"{timed[1]}{timed[2] or 'pass'};"
        elif outside := _SHELL.match(line) or _MAGIC.match(line):
            whole = "\n".join(_continued(line, rest)).strip()
            is_command = whole.startswith("!")
            if shell and is_command:
                yield _call(outside[1], whole.lstrip("!"))
                continue
            left_out.append(f"{where}: left out{' without --shell' if is_command else ''}: {line.strip()}")
            yield f"{outside[1]}pass  # " + whole.replace("\n", "\n# ")
        else:
            yield line


def _continued(line: str, rest: Iterator[str]) -> Iterator[str]:
    """Yield a line, and those behind it that it goes on in."""
    yield line
    while line.endswith("\\") and (following := next(rest, None)) is not None:
        line = following
        yield line


def _call(indentation: str, command: str) -> str:
    """Return the line that runs a command of a shell."""
    return f"{indentation}_shell({command.strip()!r}, dict(globals(), **locals()))"
