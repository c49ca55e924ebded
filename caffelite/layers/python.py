"""Python: layers that users write in Python, as pycaffe has them."""

import importlib
import operator
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from importlib.machinery import PathFinder
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import numpy as np

from caffelite import words
from caffelite.errors import NetError, ShapeError
from caffelite.layers.contract import layer as contract
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.registry import layer
from caffelite.schema.blobs import LARGEST_BLOB
from caffelite.words import Shape, count, quoted, text_of


class Phase(IntEnum):
    """The phase as layers see it: the number that Caffe 1.0 has, the name that older ones print."""

    TRAIN = words.TRAIN
    TEST = words.TEST

    def __str__(self) -> str:
        return self.name


class Sized:
    """What pycaffe tells of the size of a blob."""

    @property
    def data(self) -> np.ndarray:
        """The values."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What it is called in errors."""
        raise NotImplementedError

    @property
    def shape(self) -> Shape:
        """Its dimensions."""
        return self.data.shape

    @property
    def count(self) -> int:
        """The number of values."""
        return self.data.size

    @property
    def num(self) -> int:
        """The first of four dimensions, those of old Caffe."""
        return self._legacy(0)

    @property
    def channels(self) -> int:
        """The second of four dimensions."""
        return self._legacy(1)

    @property
    def height(self) -> int:
        """The third of four dimensions."""
        return self._legacy(2)

    @property
    def width(self) -> int:
        """The last of four dimensions."""
        return self._legacy(3)

    def _legacy(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise ShapeError(
                f"blob {quoted(self.label)} has shape {text_of(self.shape)}; num, channels, height "
                "and width speak of four axes at most"
            )
        return int((self.shape + (1, 1, 1))[axis]) if axis < len(self.shape) else 1


class LayerBlob(Sized):
    """A bottom, top or parameter as a layer written in Python sees it.

    Parameters
    ----------
    label : str
    refused : str, optional
        Why it cannot be reshaped, the end of an error's sentence; empty where it can.
    """

    def __init__(self, label: str, refused: str = "") -> None:
        self._label, self._refused = label, refused
        self._data = np.zeros((), np.float32)
        self._diff: np.ndarray | None = None

    @property
    def label(self) -> str:
        return self._label

    @property
    def data(self) -> np.ndarray:
        return self._data

    @property
    def diff(self) -> np.ndarray:
        """The gradient, of the shape of ``data``; what is written where none is wanted is dropped."""
        if self._diff is None:
            self._diff = np.zeros_like(self._data)
        return self._diff

    def reshape(self, *dims: Any) -> None:
        """Give it another shape; the values are zeros then."""
        shape = _shape_of(dims)
        if shape == self._data.shape:
            return
        if self._refused:
            raise ShapeError(f"{self._refused} cannot be reshaped by the layer")
        self.bind(np.zeros(shape, self._data.dtype), None)

    @property
    def written_diff(self) -> np.ndarray | None:
        """The gradient, if it is not the net's and somebody has asked for it."""
        return self._diff

    def bind(self, data: np.ndarray, diff: np.ndarray | None) -> None:
        """Show these arrays."""
        self._data, self._diff = data, diff

    def move(self, data: np.ndarray, diff: np.ndarray | None) -> None:
        """Show these arrays, with the values there were before."""
        if data is not self._data:
            data[...] = self._data
            self.bind(data, diff)


def _shape_of(dims: tuple[Any, ...]) -> Shape:
    """Return a shape that a layer asks for; raise ShapeError where it is none."""
    try:
        shape = tuple(operator.index(n) for n in dims)
    except TypeError:
        raise ShapeError(f"a shape is given as whole numbers, one a dimension, not {dims!r}") from None
    if min(shape, default=0) < 0 or count(shape) > LARGEST_BLOB:
        raise ShapeError(f"{text_of(shape)} is not the shape of a blob")
    return shape


class BlobList(list[LayerBlob]):
    """The parameters of a layer written in Python."""

    def add_blob(self, *dims: Any) -> None:
        """Add a parameter of this shape; what is written into it in ``setup`` is how it starts."""
        blob = LayerBlob(str(len(self)), "a parameter")
        blob.bind(np.zeros(_shape_of(dims), np.float32), None)
        self.append(blob)


class Layer:
    """Base of the layers that users write in Python.

    Attributes
    ----------
    name, type : str
    blobs : BlobList
        Parameters, made with ``self.blobs.add_blob(*shape)`` in ``setup``.
    param_str : str
        From the prototxt.
    phase : int
        TRAIN or TEST; ``str`` of it is the name.
    """

    type = "Python"
    name: str
    blobs: Any
    param_str: str
    phase: int

    def __init__(self, param: Any = None) -> None:
        pass

    @property
    def param_str_(self) -> str:
        """``param_str``, as older versions of Caffe called it."""
        return self.param_str

    def setup(self, bottom: Sequence[LayerBlob], top: Sequence[LayerBlob]) -> None:
        """Called once, when the net is built."""

    def reshape(self, bottom: Sequence[LayerBlob], top: Sequence[LayerBlob]) -> None:
        """Give the tops their shapes; called before each ``forward``."""

    def forward(self, bottom: Sequence[LayerBlob], top: Sequence[LayerBlob]) -> None:
        """Write the data of the tops."""
        raise NotImplementedError

    def backward(self, top: Sequence[LayerBlob], propagate_down: Sequence[bool], bottom: Sequence[LayerBlob]) -> None:
        """Write the gradients of the bottoms for which ``propagate_down`` is true."""
        raise NotImplementedError


#: Layers of caffelite's own for classes that published nets name, by module and class.
_PROVIDED: dict[tuple[str, str], type[contract.Layer]] = {}
_L = TypeVar("_L", bound=type[contract.Layer])


def provides(module: str, name: str) -> Callable[[_L], _L]:
    """Register a layer that computes, in TEST, what a well-known class written in Python does."""

    def register(cls: _L) -> _L:
        _PROVIDED[module, name] = cls
        return cls

    return register


@layer("Python")
class PythonLayer(contract.Layer):
    """A class that the user wrote, a subclass of ``caffelite.Layer`` (in old scripts ``caffe.Layer``).

    ``python_param``: ``module`` and ``layer`` (the class), ``param_str`` (for the class to read),
    ``share_in_parallel`` (without effect). The module is looked for in the folder of the prototxt, in the current one,
    then where Python looks; ``import caffe`` in it gets caffelite. Nothing of it runs unless that was allowed:
    ``--allow-python`` on the command line, ``allow_python=True`` in Python.

    In TEST, ``ProposalLayer`` of the module ``rpn.proposal_layer`` (py-faster-rcnn) is a layer of caffelite, unless the
    user's own may run and is there.

    Any number of bottoms and tops. ``reshape`` and ``forward`` are called in each pass, and either may give tops
    another shape; all that is behind is fitted to it. Gradients of bottoms are what ``forward`` wrote into them, else
    zero, before ``backward``. What the object keeps for itself is not in snapshots.

    Source: Caffe's ``python_layer.hpp``.

    Attributes
    ----------
    user : Layer or None
        The object, once its shapes have been asked for.
    """

    facts = Facts(bottoms=(0, None), tops=(0, None), dynamic=True, kind="data", settings=("python_param",))

    @classmethod
    def resolve(cls, param: Any, context: Context) -> type[contract.Layer]:
        settings = param.python_param
        provided = _PROVIDED.get((settings.module, settings.layer))
        if provided is None or context.phase != words.TEST:
            return cls
        if context.allow_python:
            importlib.invalidate_caches()
            first = settings.module.partition(".")[0]
            if first in sys.modules or PathFinder.find_spec(first, [*_folders(context), *sys.path]):
                return cls
        return provided

    def setup(self) -> None:
        settings = self.param.python_param
        for name in ("module", "layer"):
            if not getattr(settings, name):
                self.error(f"python_param needs {name}", "python_param")
        self.user: Layer | None = None
        self._bottoms = [LayerBlob(name, f"bottom {quoted(name)}") for name in self.param.bottom]
        self._tops = [LayerBlob(name) for name in self.param.top]
        pairs = zip(self.param.bottom, self.param.top, strict=False)
        # A blob that is written in place is one object, as in Caffe.
        self._in_place = {j for j, (bottom, top) in enumerate(pairs) if bottom == top}
        for j in self._in_place:
            self._tops[j] = self._bottoms[j]
        self._planned: Sequence[Blob] = []
        self._asked: tuple[Shape, ...] | None = None
        self._varies = False
        #: Gradients of bottoms that ``forward`` wrote.
        self._written: list[np.ndarray | None] = [None] * len(self._bottoms)
        self._folders = _folders(self.context)

    def specific_facts(self) -> Facts:
        return self.facts.but(source=not self.param.bottom)

    @property
    def varies(self) -> bool:
        return self._varies

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if self._asked != bottoms:
            for blob, shape in zip(self._bottoms, bottoms, strict=True):
                blob.bind(np.zeros(shape, np.float32), None)
            if self.user is None:
                self.user = self._make()
                self._call("setup", self._bottoms, self._tops)
            self._call("reshape", self._bottoms, self._tops)
            self._asked = bottoms
        return [top.shape for top in self._tops]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        assert self.user is not None
        return [Parameter(blob.shape, values=blob.data) for blob in self.user.blobs]

    def resize(self, bottoms: Sequence[Blob]) -> Sequence[Shape]:
        """Run the layer forward; its tops have the shapes that it gave them."""
        for j, (own, bottom) in enumerate(zip(self._bottoms, bottoms, strict=True)):
            if j not in self._in_place:
                own.bind(bottom.data, None)
                continue
            if self._planned[j].shape == bottom.shape:
                own.bind(self._planned[j].data, self._planned[j].diff)
            else:
                own.bind(np.zeros_like(bottom.data), None)
            np.copyto(own.data, bottom.data)
        self._call("reshape", self._bottoms, self._tops)
        self._call("forward", self._bottoms, self._tops)
        self._written = [own.written_diff for own in self._bottoms]
        shapes = [top.shape for top in self._tops]
        if shapes == [top.shape for top in self._planned]:
            self._take_tops(self._planned)
        else:
            self._varies = True
        return shapes

    def _take_tops(self, tops: Sequence[Blob]) -> None:
        for own, top in zip(self._tops, tops, strict=True):
            own.move(top.data, top.diff)

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        # It has run when its shapes were asked for; what it wrote into memory of its own is moved into the net's.
        assert self.user is not None
        for own, parameter in zip(self.user.blobs, self.blobs, strict=True):
            own.bind(parameter.data, parameter.diff)
        self._planned = tops
        self._take_tops(tops)
        return []

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        propagate_down = [bottom.diff is not None for bottom in bottoms]

        def backward() -> None:
            for j, (own, bottom) in enumerate(zip(self._bottoms, bottoms, strict=True)):
                if j in self._in_place:
                    gradient = tops[j].diff
                    if bottom.diff is not None and gradient is not None:
                        np.copyto(bottom.diff, gradient)
                        own.bind(tops[j].data, bottom.diff)
                    continue
                own.bind(bottom.data, bottom.diff)
                written = self._written[j]
                own.diff[...] = 0 if written is None else written
            self._call("backward", self._tops, propagate_down, self._bottoms)

        return [backward]

    # The user's code.

    def _told(self, cls: type) -> str:
        """Return how a class is called in errors."""
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        return f"the class {cls.__qualname__} ({_short(file) if file else cls.__module__})"

    def _make(self) -> Layer:
        """Return an object of the user's class."""
        settings = self.param.python_param
        if not self.context.allow_python:
            self.error(
                f"it is the class {settings.layer} of the Python module {quoted(settings.module)}, and a file's own "
                "code runs only where that is allowed: with --allow-python on the command line, with "
                "allow_python=True in Python",
                "module",
            )
        with _first_in_path(self._folders):
            module = self._module(settings.module)
        cls = getattr(module, settings.layer, None)
        if not isinstance(cls, type):
            place = getattr(module, "__file__", None)
            where = f" ({_short(place)})" if place else ""
            self.error(f"the module {quoted(settings.module)}{where} has no class {settings.layer}", "layer")
        if not issubclass(cls, Layer):
            theirs = next((c.__module__ for c in cls.__mro__ if c.__module__.startswith("caffe.")), None)
            hint = "" if theirs is None else f" but of a class of {theirs}, which was imported before"
            self.error(f"{self._told(cls)} is no subclass of caffelite.Layer{hint}", "layer")
        if cls.forward is Layer.forward:
            self.error(f"{self._told(cls)} has no method forward", "layer")
        try:
            with _first_in_path(self._folders):
                user = cls(self.param)
        except (Exception, SystemExit) as error:
            self._blame(error, "__init__")
        user.name, user.param_str, user.blobs = self.name, settings.param_str, BlobList()
        user.phase = Phase(self.context.phase)
        return user

    def _module(self, name: str) -> Any:
        # Unless another Caffe is in use, that is this one for the user's code.
        sys.modules.setdefault("caffe", sys.modules["caffelite"])
        importlib.invalidate_caches()
        first = name.partition(".")[0]
        found = PathFinder.find_spec(first, self._folders)
        loaded = getattr(sys.modules.get(first), "__file__", None)
        if found is not None and found.origin and loaded and Path(found.origin).resolve() != Path(loaded).resolve():
            self.error(
                f"the module {quoted(first)} was loaded from {loaded} before, so {found.origin} cannot be; "
                "rename one of them",
                "module",
            )
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                self._blame(error, "import")
            where = " nor in ".join(self._folders)
            self.error(f"there is no Python module {quoted(name)}, neither in {where} nor in Python's path", "module")
        except (Exception, SystemExit) as error:
            self._blame(error, "import")

    def _call(self, method: str, *arguments: Any) -> None:
        try:
            with _first_in_path(self._folders):
                getattr(self.user, method)(*arguments)
        except (Exception, SystemExit) as error:
            self._blame(error, method)

    def _blame(self, error: BaseException, method: str) -> NoReturn:
        """Raise an error that names the place in the user's code."""
        text, place = " ".join(str(error).split()), _place(error.__traceback__)
        if isinstance(error, SyntaxError) and error.filename:
            text = error.msg
            if not error.filename.startswith("<"):
                place = f"{_short(error.filename)}:{error.lineno}"
            if text.startswith("Missing parentheses in call to"):
                text += " This is Python 2."
        if isinstance(error, NotImplementedError) and not place:
            self.error(f"{self._told(type(self.user))} has no method {method}", "layer")
        kind = type(error).__name__ + (f": {text}" if text else "")
        raise NetError(f"{self.where('layer')}: {kind} ({f'{place}, ' if place else ''}in {method})") from error


def _folders(context: Context) -> list[str]:
    """Return where the user's modules are looked for first."""
    return list(dict.fromkeys(str(folder.resolve()) for folder in (context.home, Path())))


def _place(trace: TracebackType | None) -> str:
    """Return file and line of the innermost call that is not in a library, else of the innermost one."""
    frames = [frame for frame in traceback.extract_tb(trace) if not _is_in(frame.filename, _OWN)]
    theirs = [frame for frame in frames if not any(_is_in(frame.filename, library) for library in _LIBRARIES)]
    for frame in reversed(theirs or frames):
        return f"{_short(frame.filename)}:{frame.lineno}"
    return ""


_OWN = Path(__file__).parent.parent
_LIBRARIES = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")] + [Path("<frozen importlib")]


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
