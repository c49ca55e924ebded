"""The one element-wise kernel: a chain of scalar functions, composed and compiled into one loop.

This is the place where element-wise layers are fused: ``y = f3(f2(f1(x)))`` reads and writes memory once. Other kernels
apply a chain to their results while these are in the cache; there it may also add another array to them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numba
import numpy as np

from caffelite.kernels.engine import settings
from caffelite.kernels.engine.arrays import CHUNK
from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import source_digest, specialised


@dataclass(frozen=True)
class Function:
    """A scalar function and its derivative.

    Attributes
    ----------
    name : str
        Its own within the file that defines it.
    forward : callable
        ``y = forward(x, p, o)`` with constants ``p[o]``, ``p[o + 1]`` …
    gradient : callable
        ``dy/dx = gradient(x, y, p, o)``.
    reads : str
        What ``gradient`` reads: ``"x"`` or ``"y"``, or ``""``.
    constants : int
        How many.
    cost : int
        Simple operations that it takes, about.
    """

    name: str
    forward: Callable[..., Any]
    gradient: Callable[..., Any]
    reads: str = "y"
    constants: int = 0
    cost: int = 10

    @cached_property
    def key(self) -> str:
        """What machine code is kept under: the name, and digests of the sources."""
        return f"{self.name}:{source_digest(self.forward)}:{source_digest(self.gradient)}"


_FUNCTIONS: dict[str, Function] = {}


def define(function: Function) -> Function:
    """Make a function known to the kernel."""
    _FUNCTIONS[function.key] = function
    return function


def _compiled(python: Callable[..., Any]) -> Any:
    return numba.njit(python, fastmath=settings.FASTMATH, error_model="numpy")


#: In a chain, the sum with another array, element by element; all else in it are keys of functions.
ADD = "+"


def composed(chain: tuple[str, ...], offset: int = 0) -> tuple[Any, Any]:
    """Return ``value(x, p)`` and ``slope(x, p)`` of a chain of functions, whose constants begin at ``p[offset]``."""
    value: Any = _compiled(lambda x, p: x)
    slope: Any = _compiled(lambda x, p: np.float32(1))
    for key in chain:
        function = _FUNCTIONS[key]
        value, slope = _extended(value, slope, function, offset)
        offset += function.constants
    return value, slope


def _extended(value: Any, slope: Any, function: Function, offset: int) -> tuple[Any, Any]:
    forward, gradient = _compiled(function.forward), _compiled(function.gradient)

    def next_value(x, p):
        return forward(value(x, p), p, offset)

    def next_slope(x, p):
        before = value(x, p)
        return slope(x, p) * gradient(before, forward(before, p, offset), p, offset)

    return _compiled(next_value), _compiled(next_slope)


def of_result(chain: tuple[str, ...]) -> Any:
    """Return ``value(x, p, other, i)``: a chain of the result ``x`` with number ``i``; ADD adds ``other[i]``."""
    at = chain.index(ADD) if ADD in chain else len(chain)
    before, _ = composed(chain[:at])
    if at == len(chain):
        return _compiled(lambda x, p, other, i: before(x, p))
    after, _ = composed(chain[at + 1 :], sum(_FUNCTIONS[key].constants for key in chain[:at]))
    return _compiled(lambda x, p, other, i: after(before(x, p) + other[i], p))


@dataclass(frozen=True)
class Chain:
    """Functions one after the other, for a kernel that applies them to what it computes; ADD may stand among them.

    Attributes
    ----------
    keys : tuple of str
        What :func:`of_result` knows the functions by, and at most one ADD.
    constants : ndarray of float32
        Of all functions, one after the other; and a 0, so that there is something.
    other : ndarray, one axis
        What is added, as large as the results, and in other memory than these: kernels may write their results there
        before they apply the chain. Empty where there is no ADD.
    """

    keys: tuple[str, ...]
    constants: np.ndarray
    other: np.ndarray

    def over(self, y: np.ndarray) -> list[Call]:
        """Return the call that applies the chain to an array in its place; none for a chain of nothing."""
        if not self.keys:
            return []
        tasks = -(-y.size // CHUNK)
        return [call(_forward(*self.keys), tasks, y, y, self.constants, self.other, work=y.size * _cost(self.keys))]


def chained(keys: Sequence[str], constants: Sequence[float], other: np.ndarray | None = None) -> Chain:
    """Return the chain of functions with these keys and constants, and of ADD, where there is something to add."""
    added = np.empty(0, np.float32) if other is None else other
    return Chain(tuple(keys), np.array([*constants, 0], np.float32), added)


NOTHING = chained((), ())


@specialised
def _forward(*chain: str) -> Callable[..., None]:
    """Make the kernel of a chain's values."""
    value = of_result(chain)

    def forward(begin, end, worker, x, y, p, other):
        """y = f(x), or f(x, other), all [elements], with constants p; a task is CHUNK elements."""
        for i in range(begin * CHUNK, min(end * CHUNK, len(x))):
            y[i] = value(x[i], p, other, i)

    return forward


@specialised
def _backward(*chain: str) -> Callable[..., None]:
    """Make the kernel of a chain's gradient from x."""
    _, slope = composed(chain)

    def backward(begin, end, worker, x, dy, dx, p):
        """dx = dy · f'(x), all [elements], with constants p; a task is CHUNK elements."""
        for i in range(begin * CHUNK, min(end * CHUNK, len(x))):
            dx[i] = dy[i] * slope(x[i], p)

    return backward


@specialised
def _backward_from_top(key: str) -> Callable[..., None]:
    """Make the kernel of one function's gradient from y."""
    gradient = _compiled(_FUNCTIONS[key].gradient)

    def backward(begin, end, worker, y, dy, dx, p):
        """dx = dy · f'(.), the derivative from y, all [elements], with constants p; a task is CHUNK elements."""
        for i in range(begin * CHUNK, min(end * CHUNK, len(y))):
            dx[i] = dy[i] * gradient(y[i], y[i], p, 0)

    return backward


def _cost(keys: Sequence[str]) -> int:
    return sum(1 if key == ADD else _FUNCTIONS[key].cost for key in keys)


def forward(chain: Sequence[Function], constants: Sequence[float], x: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes ``y`` = the chain of functions of ``x``; ``y`` may be ``x``.

    Parameters
    ----------
    chain : sequence of Function
    constants : sequence of float
        Of all functions, one after the other.
    x, y : ndarray of float32, one axis
    """
    made = chained([function.key for function in chain], constants)
    tasks, work = -(-x.size // CHUNK), x.size * _cost(made.keys)
    return call(_forward(*made.keys), tasks, x, y, made.constants, made.other, work=work)


def backward(
    chain: Sequence[Function], constants: Sequence[float], x: np.ndarray, y: np.ndarray, dy: np.ndarray, dx: np.ndarray
) -> Call:
    """Return the call that computes ``dx`` from ``dy``; one function reads ``x`` or ``y`` as it says, a chain ``x``."""
    p = np.array([*constants, 0], np.float32)
    tasks, work = -(-x.size // CHUNK), x.size * sum(function.cost for function in chain)
    if len(chain) == 1 and chain[0].reads != "x":
        return call(_backward_from_top(chain[0].key), tasks, y, dy, dx, p, work=work)
    return call(_backward(*[f.key for f in chain]), tasks, x, dy, dx, p, work=work)
