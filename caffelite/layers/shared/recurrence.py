"""What recurrent layers share: shapes, parameters, the walk through the time steps and back."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import ClassVar

import numpy as np

from caffelite.kernels import recurrent as kernels
from caffelite.kernels.bias import add_rows
from caffelite.kernels.engine import arrays
from caffelite.kernels.inner_product import product
from caffelite.layers.contract.blobs import Blob, Parameter, Step, with_gradient
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.schema.messages import LSTMParameter, RecurrentParameter
from caffelite.words import Shape, count


class Recurrence(Layer, ABC):
    """Time steps one after the other: what goes into step t is ``Wx x(t) + b + Wh (cont(t) h(t - 1))``.

    Arrays of all steps are ``time × streams × …``. A type says what a step does with its sums, what its parameters
    are called and where its bottoms are.

    Attributes
    ----------
    cont : ndarray
        1 where a sequence goes on, 0 where one begins.
    steps : list of ndarray
        The hidden values of all steps, in the order of ``hidden``.
    sums : ndarray
        What goes into the steps; a type may overwrite it.
    entered : ndarray
        ``cont(t) h(t - 1)``.
    d_sums : ndarray
        The gradient of ``sums``.
    start : list of ndarray
        The hidden values before the first step, in the order of ``hidden``.
    """

    facts = Facts(images_meet="its axis 0 is time")
    #: Rows of the weight matrices for one hidden value.
    gates: ClassVar[int] = 1
    #: The names of what is carried from one step to the next, the one that enters the product first.
    hidden: ClassVar[tuple[str, ...]] = ("h",)
    #: The parameters: "x" and "h" (matrices), "bias", "static", and what a type adds.
    order: tuple[str, ...] = ()
    size: int

    # What a type defines.

    @abstractmethod
    def extent(self, *bottoms: Shape) -> tuple[int, int, int]:
        """Return time steps, streams, and values of an input."""

    @abstractmethod
    def prepare(self, tops: Sequence[Blob]) -> list[np.ndarray]:
        """Take memory, and return the arrays of all steps for what is carried, in the order of ``hidden``."""

    @abstractmethod
    def step(self, t: int) -> list[Step]:
        """Return what turns the sums of step t into its hidden values."""

    def start_back(self) -> list[Step]:
        """Return what has to be done before the first step back."""
        return []

    @abstractmethod
    def step_back(self, t: int, d_hidden: np.ndarray) -> list[Step]:
        """Return what computes the gradient of the sums of step t from that of its hidden values."""

    # What a type may use.

    def named(self) -> dict[str, Blob]:
        """Return the parameters by name."""
        return dict(zip(self.order, self.blobs, strict=True))

    def before(self, which: int, t: int) -> np.ndarray:
        """Return a hidden value before step t."""
        return self.steps[which][t - 1] if t else self.start[which]

    def matrices(self, settings: RecurrentParameter | LSTMParameter, **inputs: int) -> list[Parameter]:
        """Return the parameters, a matrix for each that has a number of inputs, in their order."""
        rows = self.gates * self.size
        return [
            Parameter((rows, inputs[name]), settings.weight_filler)
            if name in inputs
            else Parameter((rows,), settings.bias_filler)
            for name in self.order
        ]

    def memory(self, *shape: int) -> np.ndarray:
        """Return zeros for all steps."""
        return arrays.zeros((*self.cont.shape, *shape), self.kind)

    def walk(
        self,
        x: Blob,
        cont: np.ndarray,
        inputs: int,
        tops: Sequence[Blob],
        static: Blob | None = None,
    ) -> list[Step]:
        """Return the steps of a forward pass, from the start to the last hidden values."""
        self.cont, self.kind = cont, x.data.dtype
        time, streams = cont.shape
        width, blobs = self.gates * self.size, self.named()
        self.start = [arrays.zeros((streams, self.size), self.kind) for _ in self.hidden]
        self.sums, self.entered = self.memory(width), self.memory(self.size)
        self.steps = self.prepare(tops)
        steps: list[Step] = []
        steps += product(
            x.data,
            (inputs, 1),
            blobs["x"].data,
            (1, inputs),
            self.sums,
            (time * streams, width, inputs),
            blobs["bias"].data,
        )
        if static is not None:
            steps += self._static(static, blobs["static"])
        entering, recurrent = np.zeros((streams, self.size), self.kind), np.zeros((streams, width), self.kind)
        again = product(
            entering, (self.size, 1), blobs["h"].data, (1, self.size), recurrent, (streams, width, self.size)
        )
        for t in range(time):
            steps.append(kernels.enter(self.before(0, t), cont[t], self.entered[t], entering))
            steps += again
            steps.append(arrays.accumulate(recurrent, self.sums[t]))
            steps += self.step(t)
        return steps

    def _static(self, static: Blob, weights: Blob) -> list[Step]:
        streams, inputs = static.shape[0], count(static.shape[1:])
        width = self.gates * self.size
        part = np.zeros((streams, width), self.kind)
        calls = product(static.data, (inputs, 1), weights.data, (1, inputs), part, (streams, width, inputs))
        return [*calls, partial(np.add, self.sums, part, out=self.sums)]

    def walk_back(
        self,
        x: Blob,
        inputs: int,
        dy: np.ndarray,
        static: Blob | None = None,
        seen: np.ndarray | None = None,
    ) -> list[Step]:
        """Return the steps of a backward pass.

        Parameters
        ----------
        x : Blob
        inputs : int
        dy : ndarray
            The gradient of the first hidden value of all steps, as far as it comes from outside.
        static : Blob, optional
        seen : ndarray, optional
            What the weights ``h`` were multiplied by, where that is not ``entered``.
        """
        time, streams = self.cont.shape
        width, blobs = self.gates * self.size, self.named()
        self.d_sums = self.memory(width)
        d_hidden, d_entered = (np.zeros((streams, self.size), self.kind) for _ in range(2))
        d_recurrent = np.zeros((streams, width), self.kind)
        again = product(
            d_recurrent, (width, 1), blobs["h"].data, (self.size, 1), d_entered, (streams, self.size, width)
        )
        steps: list[Step] = [*self.start_back()]
        for t in reversed(range(time)):
            if t == time - 1:
                steps.append(arrays.copy(dy[t], d_hidden))
            else:
                steps.append(kernels.give_back(dy[t], d_entered, self.cont[t + 1], d_hidden))
            steps += self.step_back(t, d_hidden)
            if t:
                steps += [arrays.copy(self.d_sums[t], d_recurrent), *again]
        rows = time * streams
        seen = self.entered if seen is None else seen
        for name, values, columns in (("x", x.data, inputs), ("h", seen, self.size)):
            dw = blobs[name].diff
            if dw is not None:
                steps += product(self.d_sums, (1, width), values, (columns, 1), dw, (width, columns, rows), add=True)
        db = blobs["bias"].diff
        if db is not None:
            steps.append(add_rows(self.d_sums, width, db))
        if x.diff is not None:
            steps += product(self.d_sums, (width, 1), blobs["x"].data, (inputs, 1), x.diff, (rows, inputs, width))
        if static is not None:
            steps += self._static_back(static, blobs["static"])
        return steps

    def _static_back(self, static: Blob, weights: Blob) -> list[Step]:
        streams, inputs = static.shape[0], count(static.shape[1:])
        width = self.gates * self.size
        part = np.zeros((streams, width), self.kind)
        steps: list[Step] = [partial(np.sum, self.d_sums, axis=0, out=part)]
        if weights.diff is not None:
            steps += product(
                part, (1, width), static.data, (inputs, 1), weights.diff, (width, inputs, streams), add=True
            )
        if static.diff is not None:
            steps += product(part, (width, 1), weights.data, (inputs, 1), static.diff, (streams, inputs, width))
        return steps

    def multiply_adds(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> tuple[int, int]:
        x, to_x, to_h = bottoms[0], self.named()["x"], self.named()["h"]
        time, streams, _ = self.extent(*[b.shape for b in bottoms])
        from_x, from_h = time * streams * to_x.data.size, time * streams * to_h.data.size
        # What goes back from step to step ends at the first one.
        steps_back = (time - 1) * streams * to_h.data.size
        return from_x + from_h, from_x * with_gradient(x, to_x) + from_h * with_gradient(to_h) + steps_back

    def keep_state(self, streams: int) -> list[np.ndarray]:
        """Return the hidden values that go from one pass to the next; they are the layer's state."""
        for name in self.hidden:
            old = self.state.get(name)
            # A net that is planned again goes on from where it was.
            if old is None or old.shape != (streams, self.size):
                self.state[name] = np.zeros((streams, self.size), self.kind)
        return [self.state[name] for name in self.hidden]


class Cells(Recurrence):
    """Time steps of long short-term memory: hidden values h, and cells c that only gates change."""

    gates = 4
    hidden = ("h", "c")
    #: The largest gradient of what goes into a gate; 0 for any.
    limit: float = 0

    def step(self, t: int) -> list[Step]:
        h, c = self.steps
        return [kernels.lstm_forward(self.sums[t], self.cont[t], self.before(1, t), self.sums[t], c[t], h[t])]

    def start_back(self) -> list[Step]:
        self.d_cell = np.zeros_like(self.start[1])
        return [partial(self.d_cell.fill, 0)]

    def step_back(self, t: int, d_hidden: np.ndarray) -> list[Step]:
        return [
            kernels.lstm_backward(
                self.sums[t],
                self.before(1, t),
                self.steps[1][t],
                d_hidden,
                self.d_cell,
                self.d_sums[t],
                self.d_cell,
                self.limit,
            )
        ]
