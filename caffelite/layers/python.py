"""Python: a layer that a user wrote in Python."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.group import TURNS
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer, provided
from caffelite.schema.messages import LayerParameter
from caffelite.user_code import classes
from caffelite.user_code.calls import UserCode, why_not_imported
from caffelite.user_code.classes import BlobVec, LayerBlob, Phase
from caffelite.user_code.permission import WAYS, may_run
from caffelite.words import TEST, Shape, quoted


@layer("Python")
class PythonLayer(Layer):
    """A class that the user wrote, a subclass of ``caffelite.Layer`` (in old scripts ``caffe.Layer``).

    ``python_param``: ``module`` and ``layer`` (the class), ``param_str`` (for the class to read),
    ``share_in_parallel`` (without effect). The module is looked for in the folder of the prototxt, in the current one,
    then where Python looks; ``import caffe`` in it gets caffelite. Nothing of it runs unless that was allowed: see
    :mod:`caffelite.user_code.permission`.

    In TEST, ``ProposalLayer`` of the module ``rpn.proposal_layer`` (py-faster-rcnn) is a layer of caffelite, unless the
    user's own may run and can be imported.

    Any number of bottoms and tops. ``reshape`` and ``forward`` are called in each pass, and either may give tops
    another shape; all that is behind is fitted to it. Gradients of bottoms are what ``forward`` wrote into them, else
    zero, before ``backward``. What the object keeps for itself is not in snapshots.

    Where processes share the work, a source (no bottoms) runs whole in each of them, and each keeps its own rows of the
    tops: it has to give all of them the same data. Other layers see what a process has of its batch; a top with one
    value is taken to be a mean over the images.

    Source: Caffe's ``python_layer.hpp``.

    Attributes
    ----------
    user : caffelite.user_code.classes.Layer or None
        The object, once its shapes have been asked for.
    """

    facts = Facts(bottoms=(0, None), tops=(0, None), dynamic=True, kind="data", settings=("python_param",))

    @classmethod
    def resolve(cls, param: LayerParameter, context: Context) -> type[Layer]:
        settings = param.python_param
        theirs = provided(settings.module, settings.layer)
        if theirs is None or context.phase != TEST:
            return cls
        if not may_run(settings.module, settings.layer, context.allow_python):
            return theirs
        reason = why_not_imported(settings.module, settings.layer, context.home)
        if reason is None:
            return cls
        if reason:
            warnings.warn(
                f"layer {quoted(param.name)}: caffelite's own {settings.layer} stands in for the user's: {reason}",
                stacklevel=2,
            )
        return theirs

    def setup(self) -> None:
        settings = self.param.python_param
        for name in ("module", "layer"):
            if not getattr(settings, name):
                self.error(f"python_param needs {name}", "python_param")
        self.user: classes.Layer | None = None
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
        #: Of a source whose batches processes share: its own rows of the tops.
        self._rows: list[np.ndarray] | None = None
        #: Gradients of bottoms that ``forward`` wrote.
        self._written: list[np.ndarray | None] = [None] * len(self._bottoms)
        self._code = UserCode(self.context.home, self.where)

    def specific_facts(self) -> Facts:
        return self.facts.but(source=not self.param.bottom)

    def of_batch(self, top: int, shape: Shape) -> bool:
        return shape in ((), (1,))

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
        return [top.data[self._own(top.shape)].shape if self._shared else top.shape for top in self._tops]

    @property
    def _shared(self) -> bool:
        """Whether it brings batches that processes share; without bottoms, but with parameters, it brings none."""
        return self.facts.source and self.context.group.size > 1 and not (self.user and self.user.blobs)

    def _own(self, shape: Shape) -> slice | tuple[()]:
        """Return which rows of a top are this process's own."""
        if not shape:
            return ()
        share = self.share_of(shape[0])
        first = share.first % shape[0]  # of those that take turns, each has a whole batch
        return slice(first, first + share.count)

    def parameters(self, *bottoms: Shape) -> list[Parameter]:
        assert self.user is not None
        return [Parameter(blob.shape, values=blob.data) for blob in self.user.blobs]

    def resize(self, bottoms: Sequence[Blob]) -> Sequence[Shape]:
        """Run the layer forward; its tops have the shapes that it gave them."""
        if self._shared:
            return self._resize_shared()
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
        return self._fitted([top.shape for top in self._tops])

    def _resize_shared(self) -> Sequence[Shape]:
        """Run a source for the batches of all processes, and keep what is this one's own."""
        group, turns = self.context.group, self.context.dealing == TURNS
        for turn in range(group.size if turns else 1):
            self._call("reshape", self._bottoms, self._tops)
            self._call("forward", self._bottoms, self._tops)
            if not turns or turn == group.rank:
                self._rows = [top.data[self._own(top.shape)].copy() for top in self._tops]
        assert self._rows is not None
        return self._fitted([rows.shape for rows in self._rows])

    def _fitted(self, shapes: list[Shape]) -> list[Shape]:
        if shapes == [top.shape for top in self._planned]:
            self._take_tops(self._planned)
        else:
            self._varies = True
        return shapes

    def _take_tops(self, tops: Sequence[Blob]) -> None:
        if self._shared:
            for rows, top in zip(self._rows or [], tops, strict=False):
                np.copyto(top.data, rows)
            return
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

    def _call(self, method: str, *arguments: Any) -> None:
        assert self.user is not None
        self._code.call(self.user, method, *arguments)

    def _make(self) -> classes.Layer:
        """Return an object of the user's class."""
        settings = self.param.python_param
        if not may_run(settings.module, settings.layer, self.context.allow_python):
            self.error(
                f"it is the class {settings.layer} of the Python module {quoted(settings.module)}, and a file's own "
                f"code runs only where that is allowed: {WAYS}",
                "module",
            )
        user = self._code.make(settings.module, settings.layer, self.param)
        user.name, user.param_str, user.blobs = self.name, settings.param_str, BlobVec()
        user.phase = Phase(self.context.phase)
        return user
