"""Run a script that was written for Caffe: "import caffe" gives caffelite, whether the package "caffe" is installed or
not. A Jupyter notebook runs as well, its cells in order."""

import argparse
import difflib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from caffelite.cli.arguments import UsageError, add_python
from caffelite.cli.terminal import say
from caffelite.files import atomic_write
from caffelite.pycaffe.package import as_caffe
from caffelite.user_code import scripts

EXAMPLES = """examples:
  caffelite run classify.py --model deploy.prototxt cat.jpg
  caffelite run --python2 tools/demo.py --cpu
  caffelite run --python2 --diff tools/demo.py
  caffelite run --python2 --shell 00-classification.ipynb

What stands behind the script is the script's own. It runs as Python runs it, and may do whatever you may. --python2
brings Python 2 to 3 in memory, in the script and in what it imports from its own folders; no file is changed.
"""

#: Options whose value is the next word.
_WITH_VALUE = ("--write", "--fork")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("--python2", action="store_true", help="bring Python 2 to Python 3 first, in memory")
    add("--diff", action="store_true", help="show what --python2 changes, as a unified diff, and run nothing")
    add("--write", type=Path, metavar="FILE", help="write what --python2 makes of the script, and run nothing")
    add("--fork", metavar="NAME", help="fork of Caffe whose messages caffe.proto.caffe_pb2 has: ssd and others")
    add("--shell", action="store_true", help="in a notebook, run commands of a shell too (!ls, %%%%bash)")
    add("--allow-errors", action="store_true", help="in a notebook, go on behind a cell that fails")
    add_python(parser)
    add("script", type=Path, metavar="SCRIPT", help="Python script, or notebook (.ipynb)")
    add("arguments", nargs="*", default=[], metavar="ARGUMENT", help="the script's own")


def own_words(argv: Sequence[str]) -> int:
    """Return how many of the arguments are the command's: those up to the script."""
    place = 0
    while place < len(argv) and argv[place].startswith("-"):
        place += 1 + (f"--{argv[place].lstrip('-')}" in _WITH_VALUE)
    return place + 1


def run(arguments: argparse.Namespace) -> int | Callable[[], int]:
    """Show or write what becomes of the script; else return what runs it."""
    shows = arguments.diff or arguments.write is not None
    from_python2 = arguments.python2 or shows
    file = arguments.script
    for name in ("shell", "allow_errors"):
        if getattr(arguments, name) and not scripts.is_notebook(file):
            raise UsageError(f"--{name.replace('_', '-')} is for notebooks, and {file} is none (.ipynb)")
    try:
        source = scripts.read(file, from_python2, arguments.shell)
    except SyntaxError as error:
        # As Python tells it.
        print("".join(traceback.format_exception_only(error)), end="", file=sys.stderr)
        print("" if from_python2 else scripts.hint(error, file), end="", file=sys.stderr)
        return 1
    for sentence in source.left_out:
        say(f"caffelite: {sentence}")
    if arguments.diff:
        before, after = (text.splitlines(keepends=True) for text in (source.original, source.text))
        sys.stdout.writelines(difflib.unified_diff(before, after, str(file), f"{file} (Python 3)"))
    if arguments.write is not None:
        with atomic_write(arguments.write) as made:
            made.write_text(source.text, encoding=source.encoding)
        say(f"{arguments.write}: {file} in Python 3")
    if shows:
        return 0
    if arguments.allow_python:
        os.environ["CAFFE_ALLOW_PYTHON"] = "1"
    as_caffe(arguments.fork)
    return partial(scripts.run, source, arguments.arguments, from_python2, arguments.allow_errors)
