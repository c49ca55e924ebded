"""What a layer is: its facts, its shapes, its parameters, and the calls that compute forward and gradient."""

import difflib
import importlib
import json
import math
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, NoReturn, TypeAlias, TypeVar

import numpy as np

from caffelite.errors import NetError, ShapeError
from caffelite.kernels import arrays
from caffelite.kernels.cuda.host import Gpu
from caffelite.schema.names import distance

Shape = tuple[int, ...]
Step = Callable[[], None]
LayerClass: TypeAlias = "type[Layer]"
TRAIN, TEST = 0, 1


@dataclass(slots=True)
class Blob:
    """An array and its gradient, as a layer sees them.

    Attributes
    ----------
    name : str
        The name in the prototxt; for a parameter, the layer's name and the index.
    data : ndarray of float32
        The values, C-contiguous; scalars have shape ``()``.
    diff : ndarray of float32 or None
        The gradient, of the same shape; None where none is wanted.
    """

    name: str
    data: np.ndarray
    diff: np.ndarray | None = None

    @property
    def shape(self) -> Shape:
        return self.data.shape

    @property
    def flat(self) -> np.ndarray:
        """``data`` as one row (a view)."""
        return self.data.reshape(-1)

    @property
    def flat_diff(self) -> np.ndarray:
        """``diff`` as one row (a view); only where a gradient is wanted."""
        assert self.diff is not None
        return self.diff.reshape(-1)


@dataclass(frozen=True, slots=True)
class Once:
    """A step that depends on parameters alone: where they stay as they are, running it once is enough."""

    step: Step
    once: ClassVar[bool] = True

    def __call__(self) -> None:
        self.step()


@dataclass(slots=True)
class Parameter:
    """A parameter blob that a layer asks for.

    Attributes
    ----------
    shape : tuple of int
    filler : FillerParameter message or None
        How it starts; None is zero.
    learned : bool
        False for what the layer keeps itself (statistics): never touched by a solver, no gradient.
    values : ndarray, optional
        What it starts with, in place of a filler.
    """

    shape: Shape
    filler: Any = None
    learned: bool = True
    values: np.ndarray | None = None


@dataclass(slots=True)
class Context:
    """What a layer may know of the net around it.

    Attributes
    ----------
    phase : int
        ``TRAIN`` (0) or ``TEST`` (1).
    seed : int
        From it every random number of the net is derived.
    folder : Path
        Where relative paths of the prototxt start (the current folder, as in Caffe).
    global_stats : bool or None
        Overrides ``use_global_stats`` of every BatchNorm in the net; None leaves it as set.
    allow_python : bool
        Whether code that the net names may run.
    home : Path
        The folder of the prototxt.
    gpu : Gpu or None
        What layers that have kernels for a GPU run on; None: the CPU.
    """

    phase: int = TRAIN
    seed: int = 1
    folder: Path = field(default_factory=Path)
    global_stats: bool | None = None
    allow_python: bool = False
    home: Path = field(default_factory=Path)
    gpu: Gpu | None = None
    _shared: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))

    def scratch(self, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """Return memory that holds something only from one step of a layer to its next one: all layers share it."""
        size = count(shape) * dtype.itemsize
        if self._shared.size < size:
            self._shared = arrays.zeros(size, np.uint8)
        return self._shared[:size].view(dtype).reshape(shape)


class Layer:
    """Base of all layers.

    A layer declares facts about its type as class attributes; the graph, the plan, the diagram, the documentation
    and the tests read them. ``forward`` and ``backward`` are called once, when the net is planned, and return the
    steps to run each time: bound kernel calls (``caffelite.kernels.launch.call``) or any callables. So the arrays
    they are given are the arrays of every iteration.

    Gradients: ``backward`` *writes* ``bottom.diff`` where it is not None (the plan sums over several readers) and
    *adds to* ``parameter.diff`` where that is not None.
    """

    #: The name in a prototxt (set by :func:`layer`).
    type: ClassVar[str] = ""
    #: Number of bottoms and tops: exactly n, or (least, most) with None for no limit.
    bottoms: ClassVar[int | tuple[int, int | None]] = 1
    tops: ClassVar[int | tuple[int, int | None]] = 1
    #: The top may be written over the bottom: element i of the top depends on element i of the bottom alone, or
    #: the kernels are written so that overwriting does no harm.
    in_place: ClassVar[bool] = False
    #: The top is the bottom's memory with another shape; nothing is computed.
    view: ClassVar[bool] = False
    #: The first top is a loss, with weight 1 unless ``loss_weight`` says otherwise.
    loss: ClassVar[bool] = False
    #: Which data ``backward`` reads: "bottom", "top". What it does not read may be overwritten meanwhile.
    backward_reads: frozenset[str] = frozenset({"bottom", "top"})
    #: The bottoms that never get a gradient (labels). An empty range of gradients: ``differentiable = False``.
    without_gradient: tuple[int, ...] = ()
    #: Where a net learns through one of these, that is an error, as Caffe has it for labels; False: they get none.
    refuses_gradient: ClassVar[bool] = True
    #: False: no bottom ever gets a gradient (Accuracy, ArgMax).
    differentiable: ClassVar[bool] = True
    #: False: what it sends back is made by hand, and is not the derivative of what it computes (the losses of YOLO).
    derivative: ClassVar[bool] = True
    #: The layer brings data into the net (no bottoms); its calls cannot be skipped.
    source: bool = False
    #: ``forward_with`` computes the layers behind it as well: those that are ``affine``, then element-wise ones.
    absorbs: bool = False
    #: Multiplies each channel (axis 1) by a number and adds one; ``to_affine`` says which.
    affine: bool = False
    #: ``forward_with`` and ``backward_with`` do what one layer behind it does as well, if that has ``learned_affine``.
    absorbs_affine: bool = False
    #: They do an ``activation`` behind it, or behind what it absorbs, as well.
    absorbs_activation: bool = False
    #: The function that kernels for a GPU know the layer by, and its negative slope.
    activation: tuple[str, float] | None = None
    #: The shapes of the tops depend on the data: ``shapes`` returns the largest, ``resize`` those of each pass.
    dynamic: ClassVar[bool] = False

    def __init__(self, param: Any, context: Context, place: Callable[..., str]) -> None:
        self.param = param
        self.name: str = param.name
        self.context = context
        self.place = place
        #: The parameter blobs, set by the net before ``forward`` is asked for.
        self.blobs: list[Blob] = []
        #: Named arrays, beside the parameters, that a snapshot must hold for a run to go on bit for bit.
        self.state: dict[str, np.ndarray] = {}
        self.setup()

    # What a layer type defines.

    @classmethod
    def resolve(cls, param: Any, context: Context) -> "LayerClass":
        """Return the class that a layer of this type with these settings is made of."""
        return cls

    @property
    def varies(self) -> bool:
        """Whether the shapes of the tops are known to differ from pass to pass."""
        return self.dynamic

    def setup(self) -> None:
        """Read and check the layer's own settings (no shapes known yet)."""

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        """Return the shapes of the tops for these shapes of the bottoms; raise ShapeError where they do not fit."""
        return bottoms[:1]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        """Return the parameter blobs, in Caffe's order."""
        return []

    def side_by_side(self, *bottoms: Shape) -> bool:
        """Whether the top is the bottoms' values, one bottom after the other."""
        return False

    def specs(self) -> list[Any]:
        """Return the ``param`` fields in the order of the parameter blobs; dialects of Caffe can differ in it."""
        return list(self.param.param)

    def resize(self, bottoms: Sequence[Blob]) -> Sequence[Shape]:
        """Return the shapes of the tops for the data that is in the bottoms now; only asked where ``dynamic``."""
        raise NotImplementedError

    def convert_blobs(self, blobs: list[np.ndarray], where: str) -> list[np.ndarray]:
        """Return the blobs of a weights file in the order this layer has, where dialects of Caffe differ.

        What fits no dialect is returned as it is; ``where`` names file and layer for errors.
        """
        return blobs

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Iterable[Step]:
        """Return the steps that compute the tops."""
        return []

    def forward_with(
        self, followers: Sequence["Layer"], bottoms: Sequence[Blob], tops: Sequence[Blob]
    ) -> Iterable[Step]:
        """Return the steps that compute the tops of the last of ``followers``.

        Only asked where ``absorbs``, ``absorbs_affine`` or ``absorbs_activation``.
        """
        raise NotImplementedError

    def backward_with(
        self, followers: Sequence["Layer"], bottoms: Sequence[Blob], tops: Sequence[Blob]
    ) -> Iterable[Step]:
        """Return the steps of the gradients of all of them, from the bottoms; not asked where ``absorbs``."""
        raise NotImplementedError

    def learned_affine(self) -> tuple[Blob | None, Blob | None] | None:
        """Return the parameters that multiply each channel (axis 1) and are added, if that is all the layer does."""
        return None

    def to_affine(self, factor: np.ndarray, offset: np.ndarray) -> None:
        """Apply the layer to ``factor * x + offset`` of each channel, in place; only asked where ``affine``."""
        raise NotImplementedError

    def backward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> Iterable[Step]:
        """Return the steps that compute the gradients of bottoms and parameters from those of the tops."""
        return []

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        """Return how many products are summed, forward and backward; 0 where moving data is what takes the time.

        Asked after ``forward``. What is multiplied by padding counts, what is only added (a bias) does not. Backward
        counts the gradients that are wanted, those of ``self.blobs`` too: see :func:`with_gradient`.
        """
        return 0, 0

    def close(self) -> None:
        """Give back what the layer holds outside the net: files, threads."""

    # What a layer may call.

    @property
    def seed(self) -> int:
        """A seed of this layer's own: a function of the net's seed and the layer's name."""
        value = self.context.seed & 0xFFFFFFFF
        for letter in self.name.encode():
            value = (value * 1099511628211 ^ letter) & 0x7FFFFFFFFFFFFFFF
        return value

    def where(self, setting: str | None = None, index: int | None = None) -> str:
        """Return ``file:line:column: layer "name"``, of the layer or of one of its settings."""
        return f'{self.place(setting, index)}: layer "{self.name}"'

    def error(self, text: str, setting: str | None = None, index: int | None = None) -> NoReturn:
        """Raise a NetError that names the place."""
        raise NetError(f"{self.where(setting, index)}: {text}")

    def shape_error(self, text: str, setting: str | None = None, index: int | None = None) -> NoReturn:
        """Raise a ShapeError that names the place."""
        raise ShapeError(f"{self.where(setting, index)}: {text}")

    def axis(self, axis: int, shape: Shape, setting: str = "axis") -> int:
        """Return ``axis`` as 0 … n-1, negative ones counted from the end; raise ShapeError outside."""
        if not -len(shape) <= axis < len(shape):
            self.shape_error(f"{setting} {axis} does not exist in a blob of shape {text_of(shape)}")
        return axis % len(shape)


def text_of(shape: Shape) -> str:
    """Write a shape as people do: ``100×32×16×16``."""
    return "×".join(str(n) for n in shape) if shape else "scalar"


def with_gradient(*blobs: Blob) -> int:
    """Return of how many of these blobs a gradient is wanted."""
    return sum(blob.diff is not None for blob in blobs)


def count(shape: Sequence[int]) -> int:
    """Return the number of elements of a shape."""
    return math.prod(shape)


_REGISTRY: dict[str, type[Layer]] = {}
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


@cache
def registry() -> dict[str, type[Layer]]:
    """Return all layer types: every module of this package is imported, and registers what it defines."""
    import caffelite.layers as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return _REGISTRY


@cache
def _forks() -> dict[str, list[str]]:
    table: dict[str, list[str]] = json.loads((resources.files("caffelite.layers") / "forks.json").read_bytes())
    return table


def forks(kind: str) -> list[str]:
    """Return the names of the forks of Caffe that have a layer type which BVLC's Caffe has not."""
    return _forks().get(kind, [])


def fork_types() -> list[str]:
    """Return all layer types that only forks of Caffe have, in order."""
    return sorted(_forks(), key=str.lower)


def layer_class(type_name: str, place: str, layer_name: str) -> type[Layer]:
    """Return the class of a layer type; raise NetError with the nearest names, or the forks that have it."""
    known = registry()
    if type_name in known:
        return known[type_name]
    where = f'{place}: layer "{layer_name}"'
    if theirs := forks(type_name):
        raise NetError(f"{where}: caffelite has no layer type {quoted(type_name)}; it is a type of {_listed(theirs)}")
    near = _nearest(type_name, known)
    hint = f"; did you mean {' or '.join(quoted(n) for n in near)}?" if near else ""
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
        near = near or difflib.get_close_matches(name, ours, n=3, cutoff=0.6)
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


def quoted(name: str) -> str:
    """Quote a name as error messages do."""
    return f'"{name}"'
