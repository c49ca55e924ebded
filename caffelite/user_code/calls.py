"""Importing the code that a net names and calling it; what goes wrong there is told with file and line of that code."""

import importlib
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from caffelite.errors import NetError
from caffelite.schema.messages import LayerParameter
from caffelite.user_code.classes import Layer
from caffelite.words import quoted

#: Where no fault of the user's is looked for.
_OWN = Path(__file__).parent.parent
_LIBRARIES = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")] + [Path("<frozen importlib")]


def folders(home: Path) -> list[str]:
    """Return where the user's modules are looked for first: beside the prototxt, then in the current folder."""
    return list(dict.fromkeys(str(folder.resolve()) for folder in (home, Path())))


def why_not_imported(module: str, cls: str, home: Path) -> str | None:
    """Return why a class that may run cannot be imported; None where it can, empty where there is no such module."""
    importlib.invalidate_caches()
    package = module.partition(".")[0]
    if package not in sys.modules and PathFinder.find_spec(package, [*folders(home), *sys.path]) is None:
        return ""
    try:
        UserCode(home, lambda setting: module).load(module, cls)
    except NetError as error:
        return str(error)
    return None


class UserCode:
    """A class that a net names, and the calls of its methods.

    Parameters
    ----------
    home : Path
        The folder of the prototxt.
    where : callable
        Returns, for a setting of the layer, the place that an error begins with.
    """

    def __init__(self, home: Path, where: Callable[[str], str]) -> None:
        self._folders, self._where = folders(home), where

    def make(self, module_name: str, class_name: str, param: LayerParameter) -> Layer:
        """Return an object of the user's class; raise NetError where there is none or its code fails."""
        cls = self.load(module_name, class_name)
        try:
            with _first_in_path(self._folders):
                return cls(param)
        except (Exception, SystemExit) as error:
            self._blame(error, "__init__")

    def call(self, user: Layer, method: str, *arguments: Any) -> None:
        """Call a method of the user's object; raise NetError where it fails."""
        try:
            with _first_in_path(self._folders):
                getattr(user, method)(*arguments)
        except (Exception, SystemExit) as error:
            if isinstance(error, NotImplementedError) and not _place(error.__traceback__):
                self._error(f"{_told(type(user))} has no method {method}", "layer")
            self._blame(error, method)

    def load(self, module_name: str, class_name: str) -> type[Layer]:
        """Return the user's class; raise NetError where there is none or its module cannot be imported."""
        with _first_in_path(self._folders):
            module = self._module(module_name)
        cls = getattr(module, class_name, None)
        if not isinstance(cls, type):
            place = getattr(module, "__file__", None)
            where = f" ({_short(place)})" if place else ""
            self._error(f"the module {quoted(module_name)}{where} has no class {class_name}", "layer")
        if not issubclass(cls, Layer):
            theirs = next((c.__module__ for c in cls.__mro__ if c.__module__.startswith("caffe.")), None)
            hint = "" if theirs is None else f" but of a class of {theirs}, which was imported before"
            self._error(f"{_told(cls)} is no subclass of caffelite.Layer{hint}", "layer")
        return cls

    def _module(self, name: str) -> Any:
        # Unless another Caffe is in use, that is this one for the user's code.
        if "caffe" not in sys.modules:
            sys.modules["caffelite"].as_caffe()
        importlib.invalidate_caches()
        package = name.partition(".")[0]
        spec = PathFinder.find_spec(package, self._folders)
        loaded = getattr(sys.modules.get(package), "__file__", None)
        if spec is not None and spec.origin and loaded and Path(spec.origin).resolve() != Path(loaded).resolve():
            self._error(
                f"the module {quoted(package)} was loaded from {loaded} before, so {spec.origin} cannot be; "
                "rename one of them",
                "module",
            )
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                self._blame(error, "import")
            where = " nor in ".join(self._folders)
            self._error(f"there is no Python module {quoted(name)}, neither in {where} nor in Python's path", "module")
        except (Exception, SystemExit) as error:
            self._blame(error, "import")

    def _error(self, text: str, setting: str) -> NoReturn:
        raise NetError(f"{self._where(setting)}: {text}")

    def _blame(self, error: BaseException, method: str) -> NoReturn:
        """Raise an error that names the place in the user's code."""
        text, place = " ".join(str(error).split()), _place(error.__traceback__)
        if isinstance(error, SyntaxError) and error.filename:
            text = error.msg
            if not error.filename.startswith("<"):
                place = f"{_short(error.filename)}:{error.lineno}"
            if text.startswith("Missing parentheses in call to"):
                text += " This is Python 2."
        kind = type(error).__name__ + (f": {text}" if text else "")
        raise NetError(f"{self._where('layer')}: {kind} ({f'{place}, ' if place else ''}in {method})") from error


def _told(cls: type) -> str:
    """Return how a class is called in errors."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return f"the class {cls.__qualname__} ({_short(file) if file else cls.__module__})"


def _place(trace: TracebackType | None) -> str:
    """Return file and line of the innermost call that is not in a library, else of the innermost one."""
    frames = [frame for frame in traceback.extract_tb(trace) if not _is_in(frame.filename, _OWN)]
    theirs = [frame for frame in frames if not any(_is_in(frame.filename, library) for library in _LIBRARIES)]
    for frame in reversed(theirs or frames):
        return f"{_short(frame.filename)}:{frame.lineno}"
    return ""


def _is_in(filename: str, folder: Path) -> bool:
    return filename.startswith(str(folder))


def _short(filename: str) -> str:
    """Return a path from the current folder, where it is in it."""
    path = Path(filename)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@contextmanager
def _first_in_path(folders: list[str]) -> Iterator[None]:
    """Let imports look into these folders first."""
    sys.path[:0] = folders
    try:
        yield
    finally:
        for folder in folders:
            if folder in sys.path:
                sys.path.remove(folder)
