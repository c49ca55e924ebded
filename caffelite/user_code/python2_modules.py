"""Modules for Python 2 that a script imports from its own folders, brought to Python 3 where they are imported."""

import io
import linecache
import os
import sys
import tokenize
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from caffelite.user_code.python2 import converted

#: The folder that this package is in: what lies beside it is no script's.
_OWN = str(Path(__file__).parents[2])


def decoded(data: bytes, name: str) -> tuple[str, str]:
    """Return a source as text, with its encoding; raise SyntaxError as Python does."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return io.TextIOWrapper(io.BytesIO(data), encoding).read(), encoding
    except (SyntaxError, UnicodeDecodeError) as error:
        raise SyntaxError(f"its characters cannot be read: {error}", (name, 1, 1, "")) from None


def remember(text: str, name: str) -> None:
    """Let tracebacks show the lines that run in place of those of the file."""
    linecache.cache[name] = (len(text), None, io.StringIO(text).readlines(), name)


class _Loader(SourceFileLoader):
    """Loads a source for Python 2."""

    def path_stats(self, path: Any) -> Any:
        # So that no bytecode is read or written: that of the file would be another.
        raise OSError

    def source_to_code(self, data: Any, path: Any, *, _optimize: int = -1) -> CodeType:  # type: ignore[override]
        text = converted(decoded(bytes(data), path)[0], path, in_package=(Path(path).parent / "__init__.py").is_file())
        remember(text, path)
        code: CodeType = compile(text, path, "exec", dont_inherit=True, optimize=_optimize)
        return code


class Python2Finder:
    """Finds the modules of a script's own folders: of those that it adds to Python's path, and of ``PYTHONPATH``.

    Parameters
    ----------
    path : sequence of str
        Python's path without the script's folders.
    """

    def __init__(self, path: Sequence[str]) -> None:
        named = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        theirs = {os.path.abspath(folder) for folder in named} - {_OWN}
        self._others = {os.path.abspath(folder) for folder in path} - theirs | {_OWN}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how a module is loaded; None where it is not one of these."""
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or type(spec.loader) is not SourceFileLoader or spec.origin is None:
            return None
        folder = os.path.abspath(spec.origin)
        for _ in range(fullname.count(".") + 1 + (spec.submodule_search_locations is not None)):
            folder = os.path.dirname(folder)
        if folder in self._others:
            return None
        spec.loader = _Loader(fullname, spec.origin)
        return spec

    def install(self) -> None:
        """Ask this one before Python's own."""
        sys.meta_path.insert(sys.meta_path.index(PathFinder), self)
