"""Graphviz in a process of its own: its language on standard input, the picture on standard output.

Run as a program (``python -P graphviz_process.py svg``), so that what Graphviz and the libraries under it print on
standard error, or a fault in them, stays out of the process that draws.
"""

import sys

#: Exit code where PyGraphviz cannot be imported.
NOT_INSTALLED = 3


def main() -> None:
    """Draw standard input in the format that the first argument names; others are settings, ``-Gdpi=110``."""
    try:
        from pygraphviz import AGraph, DotError
    except ImportError:
        sys.exit(NOT_INSTALLED)
    graph = AGraph()
    try:
        # Not as a string: PyGraphviz would put that into a temporary file first.
        graph.read(sys.stdin.buffer)
        content = graph.draw(format=sys.argv[1], prog="dot", args=" ".join(sys.argv[2:]))
    except (DotError, ValueError) as error:
        # After what Graphviz itself has printed.
        sys.exit(str(error))
    sys.stdout.buffer.write(content)


if __name__ == "__main__":
    main()
