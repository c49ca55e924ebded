"""Reading arrays out of a pickle file without unpickling it.

A pickle is a program; Python's own reader runs it, and it may call anything. This one knows the few
instructions that make numbers, strings, lists, dictionaries and NumPy arrays, and refuses every other.
"""

import pickletools
import re
from typing import Any

import numpy as np

from caffelite.errors import DataError

_RECONSTRUCT = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
_FROM_BUFFER = {("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer")}
_DTYPE, _NDARRAY, _ENCODE = ("numpy", "dtype"), ("numpy", "ndarray"), ("_codecs", "encode")
_KNOWN = _RECONSTRUCT | _FROM_BUFFER | {_DTYPE, _NDARRAY, _ENCODE}
_SIMPLE_DTYPE = re.compile(r"[|<>=]?[uif][1248]")

_IGNORED = {"PROTO", "FRAME"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Name(tuple[str, str]):
    """A module and a name in it, of which nothing is imported."""


class _Dtype:
    """A dtype while its pieces come in."""

    def __init__(self, text: Any) -> None:
        if not isinstance(text, str) or not _SIMPLE_DTYPE.fullmatch(text):
            raise DataError(f"an array of type {str(text)[:20]!r} is in it")
        self.text = text.lstrip("|=")
        self.order = ""

    def numpy(self) -> np.dtype:
        return np.dtype(self.order + self.text)


class _Array:
    """An array while its pieces come in; ``value`` in the end."""

    value: np.ndarray | None = None


_MARK = object()


def read_arrays(content: bytes, what: str) -> Any:
    """Return what a pickle holds: an array, or a dictionary of arrays, lists, numbers and strings.

    Parameters
    ----------
    content : bytes
    what : str
        The file's name, for errors.

    Raises
    ------
    DataError
        It is damaged or holds anything else.
    """
    try:
        return _finish(_Machine().run(content))
    except DataError as error:
        raise DataError(f"{what} is not read: {error}") from None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise DataError(f"{what} is damaged or no pickle: {str(error)[:80]}") from None


class _Machine:
    """The stack and the memory of a pickle's program."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "STOP":
                return self.stack.pop()
            self._step(opcode.name, argument)
        raise DataError("it ends without its last instruction")

    def _step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in _VALUES:
            stack.append(argument)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in ("LIST", "TUPLE"):
            stack.append((list if name == "LIST" else tuple)(self._since_mark()))
        elif name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(stack[-_TUPLES[name] :])]
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else self._since_mark()
            _expect(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            pairs = [stack.pop(-2), stack.pop()] if name == "SETITEM" else self._since_mark()
            if name == "DICT":
                stack.append({})
            _expect(stack[-1], dict).update(zip(pairs[::2], pairs[1::2], strict=True))
        elif name == "GLOBAL":
            stack.append(_known(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            stack.append(_known(stack.pop(-2), stack.pop()))
        elif name == "REDUCE":
            stack.append(_reduce(_expect(stack.pop(-2), _Name), _expect(stack.pop(), tuple)))
        elif name == "BUILD":
            _build(stack[-2], stack.pop())
        elif name not in _IGNORED:
            raise DataError(f"the instruction {name} is in it, which no file of arrays needs")

    def _since_mark(self) -> list[Any]:
        place = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise DataError("its instructions do not fit together")
    return value


def _known(module: str, name: str) -> _Name:
    if (module, name) not in _KNOWN:
        raise DataError(f"it asks for {str(module)[:40]}.{str(name)[:40]}, and only arrays are made")
    return _Name((module, name))


def _reduce(name: _Name, arguments: tuple[Any, ...]) -> Any:
    if name == _DTYPE:
        return _Dtype(arguments[0])
    if name in _RECONSTRUCT:
        return _Array()
    if name in _FROM_BUFFER:
        content, dtype, shape, order = arguments
        array = _Array()
        array.value = _array(content, dtype, shape, order == "F")
        return array
    if name == _ENCODE:  # how Python 3 writes bytes for Python 2
        return _expect(arguments[0], str).encode("latin-1")
    raise DataError("its instructions do not fit together")


def _build(value: Any, state: Any) -> None:
    if isinstance(value, _Dtype):
        value.order = state[1] if state[1] in "<>" else ""
    elif isinstance(value, _Array):
        _, shape, dtype, fortran, content = state
        value.value = _array(content, dtype, shape, fortran)
    else:
        raise DataError("its instructions do not fit together")


def _array(content: Any, dtype: _Dtype, shape: tuple[int, ...], fortran: bool) -> np.ndarray:
    data = content.encode("latin-1") if isinstance(content, str) else content
    values = np.frombuffer(data, _expect(dtype, _Dtype).numpy())
    if any(n < 0 for n in shape):
        raise DataError("an array in it has a negative length")
    return values.reshape(shape, order="F" if fortran else "C")


def _finish(value: Any) -> Any:
    """Replace the arrays' holders by the arrays, in a dictionary or a single array."""
    if isinstance(value, dict):
        return {key: _finish(item) if isinstance(item, _HOLDERS) else item for key, item in value.items()}
    if isinstance(value, _Array):
        return value.value
    if isinstance(value, _HOLDERS):
        raise DataError("it ends in the middle of an array")
    return value


_HOLDERS = (_Name, _Dtype, _Array)
