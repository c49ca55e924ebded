"""The layer types by name, and which forks of Caffe have those that caffelite has not."""

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from importlib import resources
from typing import TypeVar

from caffelite.errors import NetError
from caffelite.layers.contract.layer import Layer
from caffelite.words import close_names, did_you_mean, distance, quoted

_REGISTRY: dict[str, type[Layer]] = {}
#: Layers of caffelite's own for classes written in Python that published nets name, by module and class.
_PROVIDED: dict[tuple[str, str], type[Layer]] = {}
_L = TypeVar("_L", bound=type[Layer])


def layer(*names: str) -> Callable[[_L], _L]:
    """Register a layer class under one or more type names."""

    def register(cls: _L) -> _L:
        cls.type = names[0]
        for name in names:
            if name in _REGISTRY:
                raise ValueError(f"layer type {name} is defined twice")
            _REGISTRY[name] = cls
        return cls

    return register


def provides(module: str, name: str) -> Callable[[_L], _L]:
    """Register a layer that computes, in TEST, what a well-known class written in Python does."""

    def register(cls: _L) -> _L:
        _PROVIDED[module, name] = cls
        return cls

    return register


def provided(module: str, name: str) -> type[Layer] | None:
    """Return caffelite's own layer for a class written in Python, if it has one."""
    return _PROVIDED.get((module, name))


@cache
def registry() -> dict[str, type[Layer]]:
    """Return all layer types: every module of ``caffelite.layers`` is imported, and registers what it defines."""
    import caffelite.layers as package

    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
    return _REGISTRY


@cache
def _forks() -> dict[str, list[str]]:
    table: dict[str, list[str]] = json.loads((resources.files("caffelite.layers.contract") / "forks.json").read_bytes())
    return table


def forks(kind: str) -> list[str]:
    """Return the names of the forks of Caffe that have a layer type which BVLC's Caffe has not."""
    return _forks().get(kind, [])


def fork_types() -> list[str]:
    """Return all layer types that only forks of Caffe have, in order."""
    return sorted(_forks(), key=str.lower)


def layer_class(type_name: str, place: Callable[[str], str], layer_name: str) -> type[Layer]:
    """Return the class of a layer type; raise NetError with the nearest names, or the forks that have it.

    ``place`` says, for errors, where a setting of the layer stands.
    """
    known = registry()
    if type_name in known:
        return known[type_name]
    where = f'{place("type")}: layer "{layer_name}"'
    if theirs := forks(type_name):
        raise NetError(f"{where}: caffelite has no layer type {quoted(type_name)}; it is a type of {_listed(theirs)}")
    hint = did_you_mean(type_name, known, find=_nearest)
    raise NetError(f"{where}: there is no layer type {quoted(type_name)}{hint}")


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    """Return the types that ``name`` may have been meant to be: one that is clearly nearest, else up to three."""
    ours = {one.lower(): one for one in known}
    theirs = {one.lower(): one for one in _forks()}
    folded = theirs | ours
    name = name.lower()
    changes = {one: distance(name, one) for one in folded if not _other_number(name, one)}
    least = min(changes.values(), default=len(name))
    if least <= min(2, len(name) // 4):
        near = sorted(one for one in changes if changes[one] == least)[:3]
    else:
        # Conv, BatchNormalization
        longer = [one for one in ours if len(name) > 3 and one.startswith(name)]
        shorter = [one for one in ours if len(one) > 3 and name.startswith(one)]
        near = [min(longer, key=len)] if longer else [max(shorter, key=len)] if shorter else []
        near = near or close_names(name, ours, most=3)
    return [folded[one] for one in near]


def _other_number(a: str, b: str) -> bool:
    """Whether the names differ in a number that both have: Convolution2D is no slip of Convolution3D."""
    digits_a, digits_b = ("".join(c for c in name if c.isdigit()) for name in (a, b))
    return bool(digits_a and digits_b) and digits_a != digits_b


def _listed(names: list[str], most: int = 3) -> str:
    """Name a few: ``A``, ``A and B``, ``A, B, C and 4 other forks``."""
    if len(names) > most:
        names = [*names[:most], f"{len(names) - most} other forks" if len(names) > most + 1 else names[-1]]
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
