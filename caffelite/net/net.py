"""A net: layers, parameters and a plan, run forward and backward."""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from caffelite.errors import NetError, WeightsError
from caffelite.gpu.batchnorm import VARIANTS
from caffelite.kernels.cuda.host import Gpu
from caffelite.kernels.engine import arrays
from caffelite.kernels.engine.calls import in_rows, together
from caffelite.layers.contract.blobs import Blob, Parameter, Step
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.layer import Layer
from caffelite.layers.shared.fillers import fill
from caffelite.net.graph import Graph, Node
from caffelite.net.plan import Plan
from caffelite.net.transfer import Transfer, transfer
from caffelite.net.work import LayerWork, work_of
from caffelite.schema.text import read_net
from caffelite.schema.weights import LayerWeights, read_weights, write_caffemodel, write_hdf5
from caffelite.words import TRAIN, count, quoted, text_of

_PERMISSIVE = 1  # ParamSpec.DimCheckMode


@dataclass(eq=False, slots=True)
class Learnable:
    """A parameter blob that the net owns, and how a solver treats it.

    Attributes
    ----------
    blob : Blob
    lr_mult, decay_mult : float
        What the learning rate and the weight decay are multiplied by; 0 for what a layer keeps itself.
    names : list of str
        ``layer/index`` of every layer that uses it, the owner first.
    share_name : str
        ``param { name }`` under which others share it, or empty.
    """

    blob: Blob
    lr_mult: float
    decay_mult: float
    names: list[str]
    share_name: str = ""


@dataclass(slots=True)
class LayerTime:
    """What a layer takes.

    Attributes
    ----------
    name, type : str
    forward, backward : float
        Seconds a pass.
    """

    name: str
    type: str
    forward: float
    backward: float


class Net:
    """One phase of a net, ready to run.

    Parameters
    ----------
    source : path or NetDocument
        A prototxt, or one that has been read (``caffelite.schema.text``).
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
    allow_python : bool, optional
        Whether Python layers may run the code that the net names.
    gpu : Gpu, optional
        What BatchNorm layers run on, in place of the CPU; not in float64.

    Attributes
    ----------
    name : str
    phase : int
    layers : list of Layer
    layer_names : list of str
    blobs : dict of str to Blob
        See :class:`caffelite.net.plan.Plan`.
    params : dict of str to list of Blob
        Parameter blobs by layer name.
    inputs, outputs : list of str
        Tops of Input layers; blobs that no layer reads.
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
        source: Any,
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
        allow_python: bool = False,
        gpu: Gpu | None = None,
    ) -> None:
        self.document = read_net(source) if isinstance(source, str | Path) else source
        self.phase = phase
        self.context = Context(phase, 1 if seed is None else seed, global_stats, allow_python)
        self.context.home = Path(self.document.filename).parent
        self._keep = keep
        self._dtype = np.dtype(dtype)
        if gpu is not None and self._dtype == np.float32:
            self.context.device, self.context.variants = gpu, VARIANTS
        self.graph = Graph(self.document, self.context, level, stages)
        self.name = self.graph.name
        self.layers: list[Layer] = [node.layer for node in self.graph.nodes]
        self.layer_names = [layer.name for layer in self.layers]
        self.inputs = [top.name for node in self.graph.nodes if node.layer.type == "Input" for top in node.tops]
        self.outputs = self.graph.outputs
        force = self.document.message.force_backward
        self._learns = (phase == TRAIN or force or keep) if learn is None else learn
        self._force = force and self._learns
        try:
            self.graph.infer_shapes()
            self.params: dict[str, list[Blob]] = {}
            self.learnable: list[Learnable] = []
            self._make_parameters(share)
            self._make_plan()
        except BaseException:
            self.close()
            raise
        if weights is not None:
            self.copy_from(weights)

    # Building.

    def _make_parameters(self, share: "Net | None") -> None:
        wanted = [node.layer.parameters(*[v.shape for v in node.bottoms]) for node in self.graph.nodes]
        shared: dict[str, Learnable] = {}
        slots: list[list[Learnable]] = []
        theirs: dict[int, Learnable] = {}
        if share is not None:
            theirs = {id(blob): own for own in share.learnable for blob in [own.blob]}
        for node, parameters in zip(self.graph.nodes, wanted, strict=True):
            specs = node.layer.specs()
            if len(specs) > len(parameters):
                node.layer.error(
                    f"param is given {len(specs)} times, but {node.layer.param.type} has "
                    f"{len(parameters)} parameter blobs",
                    "param",
                    len(parameters),
                )
            borrowed = share.params.get(node.name) if share is not None and parameters else None
            if borrowed is not None:
                self._check_borrowed(node, parameters, borrowed)
                slots.append([theirs.get(id(blob)) or Learnable(blob, 0, 0, []) for blob in borrowed])
            else:
                slots.append(
                    [self._own_or_share(node, j, parameter, specs, shared) for j, parameter in enumerate(parameters)]
                )
        self._allocate_parameters()
        for node, parameters, slot in zip(self.graph.nodes, wanted, slots, strict=True):
            # Several layers may have one name (a pair split by phase never has, within one phase).
            self.params.setdefault(node.name, []).extend(own.blob for own in slot)
            for j, (parameter, own) in enumerate(zip(parameters, slot, strict=True)):
                if own in self.learnable and own.names[0] == f"{node.name}/{j}":
                    self._fill(node, j, parameter, own.blob)
        self.params = {name: blobs for name, blobs in self.params.items() if blobs}
        self._slots = slots

    def _check_borrowed(self, node: Node, parameters: list[Parameter], blobs: list[Blob]) -> None:
        if [p.shape for p in parameters] != [b.shape for b in blobs]:
            mine = ", ".join(text_of(p.shape) for p in parameters)
            others = ", ".join(text_of(b.shape) for b in blobs)
            node.layer.shape_error(
                f"its parameters have shapes {mine}, those of the layer of the same name in the "
                f"train net {others}; they cannot be shared"
            )

    def _own_or_share(
        self, node: Node, j: int, parameter: Parameter, specs: list[Any], shared: dict[str, Learnable]
    ) -> Learnable:
        layer = node.layer
        spec = specs[j] if j < len(specs) else None
        lr_mult = (spec.lr_mult if spec is not None else 1.0) if parameter.learned else 0.0
        decay_mult = (spec.decay_mult if spec is not None else 1.0) if parameter.learned else 0.0
        name = spec.name if spec is not None else ""
        owner = shared.get(name) if name else None
        if owner is None:
            # The memory comes later, when the size of all parameters is known.
            blob = Blob(f"{layer.name}/{j}", np.broadcast_to(np.float32(0), parameter.shape))
            own = Learnable(blob, lr_mult, decay_mult, [f"{layer.name}/{j}"], name)
            self.learnable.append(own)
            if name:
                shared[name] = own
            return own
        same = (
            count(owner.blob.shape) == count(parameter.shape)
            if spec is not None and spec.share_mode == _PERMISSIVE
            else owner.blob.shape == parameter.shape
        )
        if not same:
            layer.shape_error(
                f"shares parameter {quoted(name)} of {owner.names[0]}, but needs shape "
                f"{text_of(parameter.shape)} where that has {text_of(owner.blob.shape)}",
                "param",
                j,
            )
        for setting, mine, others in (
            ("lr_mult", lr_mult, owner.lr_mult),
            ("decay_mult", decay_mult, owner.decay_mult),
        ):
            if spec is not None and spec.HasField(setting):
                if others != mine and not _defaulted(owner, setting):
                    layer.error(
                        f"shares parameter {quoted(name)} with {owner.names[0]}, but {setting} is {mine:g} "
                        f"here and {others:g} there",
                        "param",
                        j,
                    )
                setattr(owner, setting, mine)
        owner.names.append(f"{layer.name}/{j}")
        return owner

    def _allocate_parameters(self) -> None:
        size = sum(count(own.blob.shape) for own in self.learnable)
        self.data = arrays.zeros(size, self._dtype)
        self.diff = arrays.zeros(size if self._learns else 0, self._dtype)
        start = 0
        for own in self.learnable:
            shape = own.blob.shape
            end = start + count(shape)
            own.blob.data = self.data[start:end].reshape(shape)
            own.blob.diff = self.diff[start:end].reshape(shape) if self._learns else None
            start = end
        sizes = [own.blob.data.size for own in self.learnable] if self._learns else []
        self._clear = arrays.clear(self.diff, arrays.shares(sizes))

    def _fill(self, node: Node, j: int, parameter: Parameter, blob: Blob) -> None:
        if parameter.values is not None:
            blob.data[...] = parameter.values
            return
        # A stream of its own for each blob: editing one layer does not change how the others start.
        rng = np.random.default_rng([self.context.seed & 0xFFFFFFFF, zlib.crc32(node.name.encode()), j])
        fill(blob.data, parameter.filler, rng, node.layer.where())

    def _make_plan(self) -> None:
        rates = [any(own.lr_mult for own in slot) for slot in self._slots]
        if self._learns:
            self.graph.mark_gradients(rates, self._force)
        waiting = self.graph.waiting()
        for node, slot in zip(self.graph.nodes, self._slots, strict=True):
            node.layer.blobs = [self._as_seen_by(node, j, own, node in waiting) for j, own in enumerate(slot)]
        with together():
            plan = Plan(self.graph, self._keep, self._dtype)
        self.plan = plan
        self.blobs = plan.blobs
        #: The steps of a whole pass; empty where those of a unit may be others in the next one.
        self._forward: list[Step] = []
        self._backward: list[Step] = []
        if not any(layer.facts.dynamic for layer in self.layers):
            self._forward = in_rows(step for unit in plan.units for step in unit.forward)
            self._backward = in_rows(step for unit in reversed(plan.units) for step in unit.backward)
        self._losses = [
            (version.loss_weight, plan.blobs[version.name])
            for node in self.graph.nodes
            for version in node.tops
            if version.loss_weight and self.graph.names[version.name] is version and version.name in plan.blobs
        ]

    def _as_seen_by(self, node: Node, j: int, own: Learnable, waits: bool) -> Blob:
        """Return the blob with the shape this layer wants, without a gradient where none is learned."""
        wanted = self._parameters_of(node)[j]
        if waits:
            wanted.shape = node.layer.blobs[j].shape
        learned = node.backward and wanted.learned and own.blob.diff is not None
        learned = learned and (own.lr_mult != 0 or self._force)
        diff = own.blob.diff.reshape(wanted.shape) if learned and own.blob.diff is not None else None
        return Blob(own.blob.name, own.blob.data.reshape(wanted.shape), diff)

    def reshape(self) -> None:
        """Plan again for the shapes that the Input layers now have; parameters stay as they are."""
        self.graph.infer_shapes(again=True)
        self._check_parameters()
        self._make_plan()

    def _check_parameters(self) -> None:
        """Raise ShapeError where a layer needs parameters of other shapes now."""
        waiting = self.graph.waiting()
        for node in self.graph.nodes:
            shapes = [blob.shape for blob in node.layer.blobs]
            if not shapes or node in waiting:
                continue
            after = [p.shape for p in self._parameters_of(node)]
            if after != shapes:
                node.layer.shape_error(
                    f"with the new input its parameters would need shapes "
                    f"{', '.join(map(text_of, after))}, but they are "
                    f"{', '.join(map(text_of, shapes))}"
                )

    @staticmethod
    def _parameters_of(node: Node) -> list[Parameter]:
        return node.layer.parameters(*[v.shape for v in node.bottoms])

    def close(self) -> None:
        """Stop the threads and close the files of the layers."""
        for layer in self.layers:
            layer.close()

    # Running.

    def forward(self) -> float:
        """Run all layers.

        Returns
        -------
        float
            The sum of all losses, each times its weight; 0 where there is none.
        """
        if self._forward and all(unit.ready for unit in self.plan.units):
            for step in self._forward:
                step()
        else:
            for position in range(len(self.plan.units)):
                self.forward_unit(position)
        return self.loss()

    def forward_unit(self, position: int) -> None:
        """Run one unit of the plan; where its shapes depend on the data, all behind it is fitted to them first."""
        unit = self.plan.units[position]
        node = unit.nodes[0]
        if node.layer.facts.dynamic:
            shapes = [tuple(shape) for shape in node.layer.resize([self.plan.blob(v) for v in unit.bottoms])]
            before = [version.shape for version in unit.tops]
            if shapes != before or node in self.graph.unsettled:
                try:
                    self.graph.resize(node, shapes)
                    self._check_parameters()
                except NetError:
                    self.graph.resize(node, before)
                    raise
                self.plan.resize(position)
        if not unit.ready:
            for step in unit.prepare:
                step()
            unit.ready = True
        for step in unit.forward:
            step()

    def changed(self) -> None:
        """Tell a net that does not learn that its parameters have changed since its last forward pass.

        Such a net keeps what it has computed from them. :meth:`copy_from` says so by itself.
        """
        for unit in self.plan.units:
            unit.ready = not unit.prepare

    def loss(self) -> float:
        """Return the weighted sum of the losses of the last forward pass."""
        return sum(weight * float(blob.data.sum()) for weight, blob in self._losses)

    def backward(self) -> None:
        """Compute all gradients; those of parameters are added to what is there."""
        for step in self.plan.seeds.values():
            step()
        for step in self._backward or [step for unit in reversed(self.plan.units) for step in unit.backward]:
            step()

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        self._clear()

    def profile(self, iterations: int, backward: bool = True) -> list[LayerTime]:
        """Run forward and backward ``iterations`` times and return the mean time of each layer.

        A chain that runs as one kernel is one entry.
        """
        times = [[0.0, 0.0] for _ in self.plan.units]
        for _ in range(iterations):
            for i in range(len(self.plan.units)):
                times[i][0] -= perf_counter()
                self.forward_unit(i)
                times[i][0] += perf_counter()
            for i, unit in reversed(list(enumerate(self.plan.units)) if backward else []):
                times[i][1] -= perf_counter()
                for step in unit.backward:
                    step()
                times[i][1] += perf_counter()
        return [
            LayerTime(
                "+".join(n.name for n in unit.nodes),
                "+".join(n.layer.param.type for n in unit.nodes),
                spent[0] / iterations,
                spent[1] / iterations,
            )
            for unit, spent in zip(self.plan.units, times, strict=True)
        ]

    def work(self) -> list[LayerWork]:
        """Return what each layer of :meth:`profile` has to compute and to move, for the shapes of the last pass."""
        return [work_of(unit, self._dtype) for unit in self.plan.units]

    # State and weights.

    def state(self) -> dict[str, np.ndarray]:
        """Return, by ``layer/name``, the arrays beside the parameters that a resumed run needs (live, not copies)."""
        return {f"{layer.name}/{key}": array for layer in self.layers for key, array in layer.state.items()}

    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Set what :meth:`state` returned; entries that this net does not have are ignored."""
        for key, array in self.state().items():
            if key in state:
                if state[key].shape != array.shape:
                    raise WeightsError(
                        f"state {quoted(key)} has shape {text_of(state[key].shape)}, expected {text_of(array.shape)}"
                    )
                array[...] = state[key]

    def copy_from(self, source: str | Path | Iterable[LayerWeights]) -> Transfer:
        """Set the parameters of the layers that a weights file names; other layers are left as they are.

        Parameters
        ----------
        source : path or iterable of LayerWeights

        Returns
        -------
        Transfer
            The layers that were set, and those that are in the file or in the net only.

        Raises
        ------
        WeightsError
            The file cannot be read, a layer has another number of blobs, or none of its layers is in the net.
        ShapeError
            A blob has another shape.
        """
        self.changed()
        if isinstance(source, str | Path):
            return transfer(read_weights(source), self.layers, str(source), self.name)
        return transfer(source, self.layers, "weights", self.name)

    def share_with(self, other: "Net") -> None:
        """Use the parameters of another net, for layers of the same name, and plan again."""
        theirs = {id(own.blob): own for own in other.learnable}
        for i, node in enumerate(self.graph.nodes):
            borrowed = other.params.get(node.name)
            if borrowed is not None and self._slots[i]:
                self._check_borrowed(node, self._parameters_of(node), borrowed)
                self._slots[i] = [theirs.get(id(blob)) or Learnable(blob, 0, 0, []) for blob in borrowed]
                self.params[node.name] = borrowed
        self._make_plan()

    def weights(self) -> dict[str, list[np.ndarray]]:
        """Return the parameters by layer name (live, not copies)."""
        return {name: [blob.data for blob in blobs] for name, blobs in self.params.items()}

    def save(self, path: str | Path) -> None:
        """Write the parameters: as HDF5 where the name ends in ``.h5``, else as a ``.caffemodel``.

        The file is written under a temporary name and renamed.
        """
        if str(path).endswith(".h5"):
            write_hdf5(path, self.weights())
        else:
            write_caffemodel(path, self._message(), self.weights())

    def _message(self) -> Any:
        """Return the net as it is run: the layers of this phase."""
        message = type(self.document.message)()
        message.name = self.name
        for layer in self.layers:
            message.layer.add().CopyFrom(layer.param)
            message.layer[-1].phase = self.phase
        return message


def _defaulted(owner: Learnable, setting: str) -> bool:
    return getattr(owner, setting) == 1.0
