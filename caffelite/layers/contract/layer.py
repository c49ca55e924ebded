"""The contract of a layer: its facts, its shapes, its parameters, and the calls that compute forward and gradient."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import ClassVar, NoReturn, TypeAlias

import numpy as np

from caffelite.data.share import Share
from caffelite.errors import NetError, ShapeError
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.summary import plain_summary, settings_of
from caffelite.schema.blobs import LARGEST_BLOB
from caffelite.schema.messages import LayerParameter, ParamSpec
from caffelite.words import Shape, count, text_of

#: Why a layer that works along axis 0 cannot take a batch that is divided: see :meth:`Layer.images_meet`.
ALONG_IMAGES = "it works along axis 0, that of the images"

LayerClass: TypeAlias = "type[Layer]"


class Layer:
    """Base of all layers.

    A layer declares what is true of its type as :class:`~caffelite.layers.contract.facts.Facts`; the graph, the plan,
    the diagram, the documentation and the tests read them. ``forward`` and ``backward`` are called once, when the net
    is planned, and return the steps to run each time: bound kernel calls (``caffelite.kernels.engine.calls.call``) or
    any callables. So the arrays they are given are the arrays of every iteration.

    Gradients: ``backward`` *writes* ``bottom.diff`` where it is not None (the plan sums over several readers) and
    *adds to* ``parameter.diff`` where that is not None.

    It has more methods than a class here should, because all that is asked of a layer is in one place; a type defines
    a few of them.
    """

    #: The name in a prototxt (set by :func:`~caffelite.layers.contract.registry.layer`).
    type: ClassVar[str] = ""
    #: What is true of the type; of a layer, what :meth:`specific_facts` returned.
    facts: Facts = Facts()

    def __init__(self, param: LayerParameter, context: Context, place: Callable[..., str]) -> None:
        self.param = param
        self.name: str = param.name
        self.context = context
        self.place = place
        #: The parameter blobs, set by the net before ``forward`` is asked for.
        self.blobs: list[Blob] = []
        #: Named arrays, beside the parameters, that a snapshot must hold for a run to go on bit for bit.
        self.state: dict[str, np.ndarray] = {}
        self.setup()
        self.facts = self.specific_facts()

    # What a layer type defines.

    @classmethod
    def resolve(cls, param: LayerParameter, context: Context) -> "LayerClass":
        """Return the class that a layer of this type with these settings is made of."""
        return context.variants.get(cls, cls)

    @classmethod
    def summary(cls, param: LayerParameter) -> list[str]:
        """Return what a diagram tells of a layer with this prototxt, a line each."""
        return plain_summary(param, cls.facts.settings)

    @property
    def varies(self) -> bool:
        """Whether the shapes of the tops are known to differ from pass to pass."""
        return self.facts.dynamic

    def setup(self) -> None:
        """Read and check the layer's own settings (no shapes known yet)."""

    def specific_facts(self) -> Facts:
        """Return the facts of this layer; asked once, after ``setup``."""
        return self.facts

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        """Return the shapes of the tops for these shapes of the bottoms; raise ShapeError where they do not fit."""
        return bottoms[:1]

    def shapes_beside(self, given: Mapping[int, Shape]) -> list[Shape | None]:
        """Return the shapes of all tops of a source, some of which were given from outside; None where not known.

        Asked in place of ``shapes``, for a net that is looked at without its data.
        """
        return [given.get(j) for j in range(len(self.param.top))]

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        """Return the parameter blobs, in Caffe's order."""
        return []

    def side_by_side(self, *bottoms: Shape) -> bool:
        """Whether the top is the bottoms' values, one bottom after the other."""
        return False

    def specs(self) -> list[ParamSpec]:
        """Return the ``param`` fields in the order of the parameter blobs; dialects of Caffe can differ in it."""
        return list(self.param.param)

    def images_meet(self, *bottoms: Shape) -> str:
        """Return why what it computes of one image depends on others of its batch, or where it puts images elsewhere.

        A net that divides its batches among processes is refused with it. Empty where images stay apart along axis 0,
        or meet only in sums that the layer asks ``context.together`` for.
        """
        return self.facts.images_meet

    def of_batch(self, top: int, shape: Shape) -> bool:
        """Whether a top is a number (or several) of the whole batch, and has no values of each image along axis 0.

        Where a batch is divided, each process has one of its own, and their mean, weighed by the parts of the batch
        that they have, must be what one process computes: a sum is divided by ``context.part``.
        """
        return not shape or self.facts.kind == "measure"

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

        Only asked where ``absorbs``, ``absorbs_affine``, ``absorbs_activation`` or ``elementwise``.
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

    def window(self, bottom: Shape) -> list[tuple[int, Fraction]] | None:
        """Return, for each spatial axis, how many values of the bottom one value of the top reads, from the first to
        the last, and how far apart those of neighbours begin; None for a layer that slides no window.
        """
        return None

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        """Return how many products are summed, forward and backward; 0 where moving data is what takes the time.

        Asked when the shapes are known, and ``self.blobs``, before ``forward`` or after. What is multiplied by padding
        counts, what is only added (a bias) does not. Backward counts the gradients that are wanted, those of
        ``self.blobs`` too: see :func:`.blobs.with_gradient`.
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

    def along_images(self, axis: int, shape: Shape) -> str:
        """Return what :meth:`images_meet` does for a layer that works along one axis of a blob of this shape."""
        return ALONG_IMAGES if shape and axis % len(shape) == 0 else ""

    def share_of(self, batch_size: int, setting: str | None = None) -> Share:
        """Return which records of batches of this size are this process's own.

        Raises
        ------
        NetError
            A batch with fewer records than there are processes, or one that is not divided as those of a source before
            this one: what is in both would not be of the same images.
        """
        share = self.context.group.deal(batch_size, self.context.dealing)
        if not share.count:
            self.error(
                f"a batch of {batch_size} cannot be divided among {self.context.group.size} processes: give at most "
                f"{batch_size}, or a larger batch",
                setting,
            )
        if self.context.together.size > 1:
            first = self.context.piece = self.context.piece or share
            if share.first * first.stride != first.first * share.stride or (
                share.count * first.stride != first.count * share.stride
            ):
                self.error(
                    f"process {self.context.group.rank} of {self.context.group.size} has {share.count} of its "
                    f"{share.stride} records, but {first.count} of the {first.stride} of a source before it: batches "
                    "that differ must divide without a rest",
                    setting,
                )
        return share

    def check_blob(self, what: str, shape: Shape) -> None:
        """Raise ShapeError where a blob of this shape is larger than any can be; name the largest setting."""
        if count(shape) <= LARGEST_BLOB:
            return
        numbers = [number for number in settings_of(self.param) if number[1] > 1]
        setting, value = max(numbers, key=lambda number: number[1], default=(None, 0))
        self.shape_error(
            f"{what} would have {text_of(shape)} values, more than a blob can have ({LARGEST_BLOB})"
            + (f"; {setting} is {value}" if setting else ""),
            setting,
        )

    def axis(self, axis: int, shape: Shape, setting: str = "axis") -> int:
        """Return ``axis`` as 0 … n-1, negative ones counted from the end; raise ShapeError outside."""
        if not -len(shape) <= axis < len(shape):
            self.shape_error(f"{setting} {axis} does not exist in a blob of shape {text_of(shape)}")
        return axis % len(shape)

    def around(self, axis: int, shape: Shape, setting: str = "axis") -> tuple[int, int, int]:
        """Return how many values lie before an axis, along it and behind it; raise ShapeError where it is not there."""
        axis = self.axis(axis, shape, setting)
        return count(shape[:axis]), shape[axis], count(shape[axis + 1 :])
