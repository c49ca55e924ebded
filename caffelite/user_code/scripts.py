"""Running a script as Python runs it: as ``__main__``, with its own arguments, tracebacks and exit code."""

import ast
import builtins
import os
import signal
import sys
import threading
import traceback
import warnings
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import NamedTuple

from caffelite.user_code import notebooks, python2, python2_modules

#: What stands between Python and the module of a script.
_OURS = {module.__file__ for module in (python2, python2_modules)}


class Source(NamedTuple):
    """A script, or the code of a notebook.

    Attributes
    ----------
    file : Path
        As it was given.
    original, text : str
        What it says, and what of it runs.
    encoding : str
    left_out : list of str
        Sentences on what of a notebook is no Python.
    """

    file: Path
    original: str
    text: str
    encoding: str
    left_out: list[str]

    @property
    def path(self) -> str:
        """What tracebacks call it."""
        return os.path.abspath(self.file)

    @property
    def is_notebook(self) -> bool:
        """Whether its cells run one by one."""
        return is_notebook(self.file)


def is_notebook(file: Path) -> bool:
    """Whether a file is a notebook, by its name."""
    return file.suffix == ".ipynb"


def read(file: Path, from_python2: bool, shell: bool = False) -> Source:
    """Read a script or a notebook.

    Parameters
    ----------
    file : Path
        A notebook is one that ends with ``.ipynb``.
    from_python2 : bool
        Whether to bring it to Python 3.
    shell : bool, optional
        Whether a notebook runs its commands of a shell.

    Raises
    ------
    OSError
    SyntaxError
        It cannot be compiled.
    ScriptError
        It is no notebook.
    MissingExtraError
        There is nothing to bring it to Python 3 with.
    """
    data = file.read_bytes()
    path, encoding, left_out = os.path.abspath(file), "utf-8", list[str]()
    if is_notebook(file):
        original, left_out = notebooks.script(data, str(file), shell=shell)
    else:
        original, encoding = python2_modules.decoded(data, path)
    text = python2.converted(original, path) if from_python2 else original
    source = Source(file, original, text, encoding, left_out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are given when it runs
        list(_steps(source))
    return source


def run(source: Source, arguments: Sequence[str], from_python2: bool, allow_errors: bool = False) -> int:
    """Run a script in this process, which is the script's from now on.

    Parameters
    ----------
    source : Source
        A notebook runs in its own folder, as Jupyter runs it, and prints what its cells end with.
    arguments : sequence of str
        The script's own.
    from_python2 : bool
        Whether to bring what it imports from its own folders to Python 3 too.
    allow_errors : bool, optional
        Whether a notebook goes on behind a cell that fails, as Jupyter can.

    Returns
    -------
    int
        0, or 1 if cells failed; an exception of the script, SystemExit too, is the caller's to let pass.
    """
    path = source.path
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.excepthook = _hook(source, from_python2)
    sys.argv = [str(source.file), *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(path))
    if from_python2:
        python2_modules.Python2Finder(sys.path[1:]).install()
    if source.text != source.original or source.is_notebook:
        python2_modules.remember(source.text, path)
    if source.is_notebook:
        os.chdir(os.path.dirname(path))
        # No window is waited for where a notebook would have shown a picture.
        os.environ.setdefault("MPLBACKEND", "Agg")
    module = ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = module
    failed: list[int] = []
    for cell, code in _steps(source):
        if cell in failed:
            continue
        try:
            value = eval(code, module.__dict__)
            if value is not None:
                sys.displayhook(value)
        except Exception as error:
            if not allow_errors:
                raise
            failed.append(cell)
            sys.stdout.flush()
            print(f"caffelite: {source.file}, cell {cell}:", file=sys.stderr)
            sys.excepthook(type(error), error, error.__traceback__)
    if failed:
        print(f"caffelite: {source.file}: these cells failed: {', '.join(map(str, failed))}", file=sys.stderr)
    return 1 if failed else 0


def _steps(source: Source) -> Iterator[tuple[int, CodeType]]:
    """Yield what runs: the script; of a notebook, each cell, the expression that it ends with by itself.

    Before each stands the number of its cell, which is 0 for what is in none.
    """
    if not source.is_notebook:
        yield 0, compile(source.text, source.path, "exec", dont_inherit=True)
        return
    lines = source.text.split("\n")
    marks = [n for n, line in enumerate(lines, 1) if notebooks.MARK.fullmatch(line)]
    cells: dict[int, list[ast.stmt]] = {}
    for statement in ast.parse(source.text, source.path).body:
        cells.setdefault(bisect_right(marks, statement.lineno), []).append(statement)
    for cell, body in cells.items():
        last = body[-1]
        shown = isinstance(last, ast.Expr) and not lines[(last.end_lineno or 1) - 1].rstrip().endswith(";")
        unseen = body[:-1] if shown else body
        yield cell, compile(ast.Module(unseen, []), source.path, "exec", dont_inherit=True)
        if isinstance(last, ast.Expr) and shown:
            yield cell, compile(ast.Expression(last.value), source.path, "eval", dont_inherit=True)


def hint(error: BaseException, file: str | Path) -> str:
    """Return how a script that fails with an error of Python 2 can be run; empty for other errors."""
    if not python2.is_python2(error):
        return ""
    return f'caffelite: that is Python 2; "caffelite run --python2 {file}" brings it to Python 3\n'


def _hook(
    source: Source, from_python2: bool
) -> Callable[[type[BaseException], BaseException, TracebackType | None], None]:
    """Return what shows an error of the script as Python does."""

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        trace = _theirs(trace, source.path)
        if from_python2 or source.is_notebook:
            # Python's own hook may look for lines in the file, which are not those that run.
            traceback.print_exception(kind, error, trace)
        else:
            sys.__excepthook__(kind, error.with_traceback(trace), trace)
        if not from_python2:
            print(hint(error, source.file), end="", file=sys.stderr)

    return show


def _theirs(trace: TracebackType | None, path: str) -> TracebackType | None:
    """Return a traceback from the script on, without what stands between it and its modules."""
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    begin = next((n for n, one in enumerate(frames) if one.tb_frame.f_code.co_filename == path), len(frames))
    kept = None
    for one in reversed(frames[begin:]):
        file = one.tb_frame.f_code.co_filename
        if file not in _OURS and not file.startswith("<frozen importlib"):
            kept = TracebackType(kept, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return kept
