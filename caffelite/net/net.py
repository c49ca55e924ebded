"""A net: layers, parameters and a plan, run forward and backward."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from caffelite.errors import NetError
from caffelite.gpu.batchnorm import VARIANTS
from caffelite.kernels.cuda.host import Gpu
from caffelite.kernels.engine.calls import together
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.group import ALONE, BATCH, PIECES, Group
from caffelite.layers.contract.layer import Layer
from caffelite.net.caller import Caller, one_thread
from caffelite.net.graph import Graph, Version
from caffelite.net.parameters import Parameters, check_parameters
from caffelite.net.plan import Plan
from caffelite.net.stored import Stored
from caffelite.net.timing import LayerTime, LayerWork, profile, work_of
from caffelite.schema.documents import NetDocument
from caffelite.schema.text import read_net
from caffelite.user_code.permission import AllowPython
from caffelite.words import TRAIN, Shape


class Net(Stored):
    """One phase of a net, ready to run.

    One thread at a time runs it: another one that calls a method which computes or changes something meanwhile gets a
    BusyError. Nets of their own run in any number of threads at once.

    It has more attributes than a class here should: they are the words of Caffe's Net, and what a solver reads.

    Parameters
    ----------
    source : path or NetDocument
        A prototxt, or one that has been read (``caffelite.schema.text.read_net``).
    phase : int
        ``TRAIN`` or ``TEST``.
    weights : path, optional
        A ``.caffemodel`` to start from.
    level : int, optional
    stages : sequence of str, optional
        The rest of the net state that ``include`` rules are held against.
    seed : int, optional
        From it all random numbers of the net are derived.
    dtype : dtype, optional
        float32, or float64 to hold gradients against differences; that is slower.
    keep : bool, optional
        Every blob keeps its values and its gradient after a pass, nothing is fused.
    global_stats : bool, optional
        Overrides ``use_global_stats`` of every BatchNorm.
    share : Net, optional
        Layers of the same name use the parameters of this net.
    learn : bool, optional
        Whether gradients are computed at all; by default in TRAIN, and where ``force_backward`` or ``keep`` asks
        for it.
    allow_python : bool or "imported", optional
        Whether Python layers may run the code that the net names: see :mod:`caffelite.user_code.permission`.
    output_root : path, optional
        The folder that HDF5Output layers write to, by default the current one; None: they write nothing.
    gpu : Gpu, optional
        What BatchNorm layers run on, in place of the CPU; not in float64.
    group : Group, optional
        The processes that share the work.
    dealing : {"pieces", "turns"}, optional
        How batches are dealt out among them: see :meth:`.Group.deal`.
    bn_statistics : {"batch", "process"}, optional
        Whose statistics normalize in TRAIN: those of the group's whole batch, or those of each process's images.

    Attributes
    ----------
    name : str
    document : NetDocument
    phase : int
    context : Context
    graph : Graph
    plan : Plan
    layers : list of Layer
    layer_names : list of str
    blobs : dict of str to Blob
        See :class:`caffelite.net.plan.Plan`.
    params : dict of str to list of Blob
        Parameter blobs by layer name.
    inputs, outputs : list of str
        Blobs that the caller fills; those that no layer reads.
    part : float
        What part of each batch is this process's own; 1 where it is alone.
    caller : Caller
        Which thread is in the net.
    hooks : mapping of str to list of callable
        What is called with the number of a unit, by the moment: "before_forward", "after_forward", "before_backward",
        "after_backward". Where there are any, each unit runs on its own.
    learnable : list of Learnable
        In the order of ``data`` and ``diff``.
    data, diff : ndarray of float32
        All parameters this net owns, and their gradients, one after the other.

    Raises
    ------
    SchemaError, NetError, ShapeError, WeightsError
    """

    def __init__(
        self,
        source: str | Path | NetDocument,
        phase: int = TRAIN,
        *,
        weights: str | Path | None = None,
        level: int = 0,
        stages: Sequence[str] = (),
        seed: int | None = None,
        dtype: DTypeLike = np.float32,
        keep: bool = False,
        global_stats: bool | None = None,
        share: "Net | None" = None,
        learn: bool | None = None,
        allow_python: AllowPython = False,
        output_root: str | Path | None = ".",
        gpu: Gpu | None = None,
        group: Group = ALONE,
        dealing: str = PIECES,
        bn_statistics: str = BATCH,
    ) -> None:
        self.document = read_net(source) if isinstance(source, str | Path) else source
        self.phase = phase
        self.context = Context(phase, 1 if seed is None else seed, global_stats, allow_python)
        self.context.home = Path(self.document.filename).parent
        self.context.output_root = None if output_root is None else Path(output_root)
        self.context.group, self.context.dealing = group, dealing
        # The batches of a test are whole on each process.
        self.context.statistics = group if bn_statistics == BATCH and phase == TRAIN else ALONE
        self._keep = keep
        self._dtype = np.dtype(dtype)
        if gpu is not None and self._dtype == np.float32:
            self.context.device, self.context.variants = gpu, VARIANTS
        self.graph = Graph(self.document, self.context, level, stages)
        self.name = self.graph.name
        self.caller = Caller(self.name)
        self.hooks: Mapping[str, Sequence[Callable[[int], Any]]] = {}
        self.layers: list[Layer] = [node.layer for node in self.graph.nodes]
        self.layer_names = [layer.name for layer in self.layers]
        self.inputs = [top.name for node in self.graph.nodes if node.layer.facts.net_input for top in node.tops]
        self.outputs = self.graph.outputs
        force = self.document.message.force_backward
        self._learns = (phase == TRAIN or force or keep) if learn is None else learn
        self._force = force and self._learns
        try:
            self.graph.infer_shapes()
            lender = None if share is None else share._parameters
            self._parameters: Parameters = Parameters(self.graph, self.context.seed, self._dtype, self._learns, lender)
            self._make_plan()
        except BaseException:
            self.close()
            raise
        self.params = self._parameters.by_layer
        self.learnable = self._parameters.learnable
        self.data, self.diff = self._parameters.data, self._parameters.diff
        if weights is not None:
            self.copy_from(weights)

    def _make_plan(self) -> None:
        if self._learns:
            self.graph.mark_gradients(self._parameters.learns(), self._force)
        self._parameters.hand_out(self._force)
        with together():
            self.plan = Plan(self.graph, self._keep, self._dtype, self._parameters.bytes)
        self.blobs = self.plan.blobs

    @one_thread
    def reshape(self) -> None:
        """Plan again for the shapes that the Input layers now have; parameters stay as they are.

        Raises
        ------
        ShapeError
            A layer does not fit; blobs and memory stay as they were.
        """
        shapes = self.graph.shapes()
        try:
            self.graph.infer_shapes(again=True)
            for node in self.graph.nodes:
                if node not in self.graph.stale:
                    check_parameters(node)
        except NetError:
            self.graph.restore(shapes)
            raise
        self._make_plan()

    @one_thread
    def ask(self, versions: Iterable[Version]) -> None:
        """Plan again so that these versions keep their values after a pass too; all others stay fused and shared."""
        for version in versions:
            version.asked = True
        self._plan_again(self._keep)

    @one_thread
    def reshape_blob(self, name: str, shape: Shape) -> None:
        """Give a blob another shape, until a layer that makes it runs again; only where planned with ``keep``.

        What reads it is fitted to it when it runs. Where the number of values stays the same, the values stay.
        """
        self.plan.reshape(name, shape)

    @one_thread
    def fit(self, first: int, last: int) -> None:
        """Bind units anew whose blobs have other shapes since, up to one whose own shapes depend on the data.

        Parameters
        ----------
        first, last : int
            The units, both included. What is behind them stays as it is.

        Raises
        ------
        ShapeError
            A layer does not fit; those before it are bound anew.
        """
        with together():
            for unit in self.plan.units[first : last + 1] if self.graph.stale else ():
                self.plan.fit(unit)
                if unit.first.layer.facts.dynamic:
                    break

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let every blob keep its values and its gradient, with nothing fused, while the block runs.

        Kept are the batch (the tops of layers without bottoms) and the state of the layers. All other blobs are to be
        computed again: in the block, and after it.
        """
        if self._keep:
            yield
            return
        try:
            self._plan_again(keep=True)
            yield
        finally:
            self._plan_again(keep=False)

    def _plan_again(self, keep: bool) -> None:
        tops = [version for node in self.graph.nodes if not node.bottoms for version in node.tops]
        batch = [self.plan.blob(version).data.copy() for version in tops]
        state = {key: array.copy() for key, array in self.state().items()}
        self._keep = keep
        self._make_plan()
        for version, values in zip(tops, batch, strict=True):
            self.plan.blob(version).data[...] = values
        self.load_state(state)

    @one_thread
    def close(self) -> None:
        """Stop the threads and close the files of the layers."""
        for layer in self.layers:
            layer.close()

    # Running.

    @one_thread
    def forward(self) -> float:
        """Run all layers.

        Returns
        -------
        float
            The sum of all losses, each times its weight; 0 where there is none.
        """
        if (
            self.plan.forward
            and not self.graph.stale
            and not self.hooks
            and all(unit.ready for unit in self.plan.units)
        ):
            for step in self.plan.forward:
                step()
        else:
            for position in range(len(self.plan.units)):
                self.forward_unit(position)
        return self.loss()

    @one_thread
    def forward_unit(self, position: int) -> None:
        """Run one unit of the plan; where the shapes of its blobs have changed, it is fitted to them first."""
        self._tell("before_forward", position)
        unit = self.plan.units[position]
        self.plan.fit(unit)
        if unit.first.layer.facts.dynamic:
            self.plan.settle(unit)
        if not unit.ready:
            for step in unit.prepare:
                step()
            unit.ready = True
        for step in unit.forward:
            step()
        self._tell("after_forward", position)

    def changed(self) -> None:
        """Tell a net that does not learn that its parameters have changed since its last forward pass.

        Such a net keeps what it has computed from them. :meth:`copy_from` says so by itself.
        """
        for unit in self.plan.units:
            unit.ready = not unit.prepare

    @property
    def part(self) -> float:
        return self.context.part

    def combine(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return, of values that blobs of this process have, its part of what they are for the whole batch.

        Parameters
        ----------
        values : mapping of str to ndarray
            By the blobs' names, of the shapes that they have now.

        Returns
        -------
        dict of str to ndarray of float64
            The sum over all processes is the value of the whole batch: of a number of the batch the mean, of values of
            images those of all images, one process's behind another's. Left out are blobs of images whose shapes
            depend on the data.
        """
        parts = {}
        piece, varying = self.context.piece, self.graph.behind_dynamic()
        for name, own in values.items():
            version = self.graph.names[name]
            parts[name] = np.asarray(np.asarray(own, np.float64) * self.part)
            if version.of_batch or piece is None:
                continue
            if version.producer in varying or len(own) % piece.count:
                del parts[name]
                continue
            first, whole = self.context.place_in_batch(len(own))
            parts[name] = np.zeros((whole, *own.shape[1:]))
            parts[name][first : first + len(own)] = own
        return parts

    def loss(self) -> float:
        """Return the weighted sum of the losses of the last forward pass.

        Where processes share a batch: this process's part of it; the sum over all processes is the loss.
        """
        return sum(
            weight * float(blob.data.item() if blob.data.size == 1 else blob.data.sum())
            for weight, blob in self.plan.losses
        )

    @one_thread
    def backward(self) -> None:
        """Compute all gradients; those of parameters are added to what is there."""
        for step in self.plan.seeds.values():
            step()
        if self.plan.backward and not self.hooks:
            for step in self.plan.backward:
                step()
        else:
            for position in reversed(range(len(self.plan.units))):
                self.backward_unit(position)

    @one_thread
    def backward_unit(self, position: int) -> None:
        """Compute the gradients of one unit of the plan."""
        self._tell("before_backward", position)
        for step in self.plan.units[position].backward:
            step()
        self._tell("after_backward", position)

    def _tell(self, moment: str, position: int) -> None:
        for hook in self.hooks.get(moment, ()):
            hook(position)

    @one_thread
    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        self._parameters.zero_grad()

    @one_thread
    def profile(self, iterations: int, backward: bool = True) -> list[LayerTime]:
        """Run forward and backward ``iterations`` times and return the mean time of each layer.

        A chain that runs as one kernel is one entry.
        """
        return profile(self.plan.units, self.forward_unit, iterations, backward)

    def work(self) -> list[LayerWork]:
        """Return what each layer of :meth:`profile` has to compute and to move, for the shapes of the last pass."""
        return [work_of(unit, self._dtype) for unit in self.plan.units]
