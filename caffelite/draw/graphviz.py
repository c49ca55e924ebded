"""Graphviz, by whichever way it is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

from caffelite.draw import graphviz_process
from caffelite.errors import Error, MissingExtraError

#: Two words that are equally wide only where each letter is a box with its number in it.
_WIDTHS = 'digraph { node [shape=plain, fontname="Helvetica"]; "iiii"; "WWWW"; }'


def render(source: bytes, kind: str, output: str | Path) -> bytes:
    """Return what Graphviz makes of its language: PyGraphviz, which has it within, or the ``dot`` on the path."""
    settings = ["-Gdpi=110"] if kind == "png" else []
    # "-P": no module of the folder that the file lies in is taken for another.
    done = _run([sys.executable, "-P", graphviz_process.__file__, kind, *settings], source)
    if done.returncode == graphviz_process.NOT_INSTALLED:
        program = shutil.which("dot")
        if program is None:
            raise MissingExtraError(
                f"{output}: a picture is drawn by Graphviz, which is not installed (pip install pygraphviz; "
                "Debian, Ubuntu: apt install graphviz; macOS: brew install graphviz); .md and .dot need nothing"
            )
        done = _run([program, f"-T{kind}", *settings], source)
    if done.returncode:
        raise Error(f"Graphviz failed: {done.stderr.decode(errors='replace').strip()[-200:]}")
    return done.stdout


def _run(command: list[str], source: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=source, capture_output=True, check=False)


def fonts() -> bool:
    """Tell whether Graphviz has letters to draw with."""
    nodes = [line.split() for line in render(_WIDTHS.encode(), "plain", "").decode().splitlines()]
    return len({words[4] for words in nodes if words[0] == "node"}) > 1
