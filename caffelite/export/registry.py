"""What the modules of a package register by name: a function for each type, in the file of its family."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Registry(Generic[_T]):
    """Values by name.

    Parameters
    ----------
    package : str
        The package whose modules register them; all below it are imported when the values are first asked for.
    """

    def __init__(self, package: str) -> None:
        self._package = package
        self._values: dict[str, _T] = {}
        self._reasons: dict[str, str] = {}

    def put(self, value: _T, *names: str) -> None:
        """Register a value under some names."""
        self._values.update(dict.fromkeys(names, value))

    def register(self, *names: str) -> Callable[[_T], _T]:
        """Return a decorator that registers what it is put on."""

        def register(value: _T) -> _T:
            self.put(value, *names)
            return value

        return register

    def refuse(self, reason: str, *names: str) -> None:
        """Say why there is nothing under these names."""
        self._reasons.update(dict.fromkeys(names, reason))

    def all(self) -> dict[str, _T]:
        """Return what is registered."""
        _import_all(self._package)
        return self._values

    def reason(self, name: str) -> str | None:
        """Return why there is nothing under a name, where that was said."""
        _import_all(self._package)
        return self._reasons.get(name)


@cache
def _import_all(package: str) -> None:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(module.name)
