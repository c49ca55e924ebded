"""The parameters of a net: who owns each blob, who shares it, where it is, and how it starts.

A layer's parameter blob is the net's own, or shared with another layer by the name in ``param { name }``, or borrowed
from the layer of the same name in another net (a test net uses those of the train net). The blobs that a net owns lie
one after the other in one flat array, and so do their gradients: a solver's update is one pass over them.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from caffelite.kernels.engine import arrays
from caffelite.layers.contract.blobs import Blob, Parameter
from caffelite.layers.shared.fillers import fill
from caffelite.net.graph import Graph, Node
from caffelite.net.room import check_room
from caffelite.schema.messages import ParamSpec
from caffelite.words import count, quoted, text_of

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


class Parameters:
    """The parameter blobs of the layers of a graph.

    Parameters
    ----------
    graph : Graph
        Shapes are known.
    seed : int
        What the net's random numbers are derived from.
    dtype : dtype
    gradients : bool
        Whether there is memory for them.
    lender : Parameters, optional
        Layers of the same name use the blobs of these.

    Attributes
    ----------
    by_layer : dict of str to list of Blob
        By the layer's name; layers without are left out.
    learnable : list of Learnable
        Those that the net owns, in the order of ``data`` and ``diff``.
    bytes : int
        Memory that is taken.
    data, diff : ndarray
        All of them, one after the other; ``diff`` is empty without gradients.

    Raises
    ------
    NetError, ShapeError
        More ``param`` than the layer has blobs, or blobs that cannot be shared.
    """

    def __init__(
        self, graph: Graph, seed: int, dtype: np.dtype, gradients: bool, lender: "Parameters | None" = None
    ) -> None:
        self._graph = graph
        self._seed = seed
        self.learnable: list[Learnable] = []
        self.by_layer: dict[str, list[Blob]] = {}
        asked = [parameters_of(node) for node in graph.nodes]
        shared: dict[str, Learnable] = {}
        # For each layer, what it uses: its own, a shared or a borrowed blob.
        self._used = [
            self._use(node, parameters, shared, lender) for node, parameters in zip(graph.nodes, asked, strict=True)
        ]
        self._allocate(dtype, gradients)
        owned = set(self.learnable)
        for node, parameters, used in zip(graph.nodes, asked, self._used, strict=True):
            if used:
                # Several layers may have one name (a pair split by phase never has, within one phase).
                self.by_layer.setdefault(node.name, []).extend(own.blob for own in used)
            for j, (parameter, own) in enumerate(zip(parameters, used, strict=True)):
                if own in owned and own.names[0] == f"{node.name}/{j}":
                    self._fill(node, j, parameter, own.blob)

    def _use(
        self, node: Node, parameters: list[Parameter], shared: dict[str, Learnable], lender: "Parameters | None"
    ) -> list[Learnable]:
        specs = node.layer.specs()
        if len(specs) > len(parameters):
            node.layer.error(
                f"param is given {len(specs)} times, but {node.layer.param.type} has {len(parameters)} parameter blobs",
                "param",
                len(parameters),
            )
        if lender is not None and parameters and node.name in lender.by_layer:
            return _borrow(node, parameters, lender)
        return [
            self._own_or_share(node, j, parameter, specs[j] if j < len(specs) else ParamSpec(), shared)
            for j, parameter in enumerate(parameters)
        ]

    def _own_or_share(
        self, node: Node, j: int, parameter: Parameter, spec: ParamSpec, shared: dict[str, Learnable]
    ) -> Learnable:
        """Return the blob of ``param { name }``, which has a place in ``shared``, or a new one."""
        name = f"{node.name}/{j}"
        lr_mult = spec.lr_mult if parameter.learned else 0.0
        decay_mult = spec.decay_mult if parameter.learned else 0.0
        if spec.name in shared:
            owner = shared[spec.name]
            _check_shared(node, j, parameter, spec, owner)
            _join_multipliers(node, j, spec, owner, lr_mult, decay_mult)
            owner.names.append(name)
            return owner
        # The memory comes later, when the size of all parameters is known.
        blob = Blob(name, np.broadcast_to(np.float32(0), parameter.shape))
        own = Learnable(blob, lr_mult, decay_mult, [name], spec.name)
        self.learnable.append(own)
        if spec.name:
            shared[spec.name] = own
        return own

    def _allocate(self, dtype: np.dtype, gradients: bool) -> None:
        sizes = [count(own.blob.shape) for own in self.learnable]
        self.bytes = sum(sizes) * dtype.itemsize * (2 if gradients else 1)
        check_room(self._graph.name, self.bytes)
        self.data = arrays.zeros(sum(sizes), dtype)
        self.diff = arrays.zeros(sum(sizes) if gradients else 0, dtype)
        begin = 0
        for own, size in zip(self.learnable, sizes, strict=True):
            shape, end = own.blob.shape, begin + size
            own.blob.data = self.data[begin:end].reshape(shape)
            own.blob.diff = self.diff[begin:end].reshape(shape) if gradients else None
            begin = end
        self._clear = arrays.clear(self.diff, arrays.shares(sizes if gradients else []))

    def _fill(self, node: Node, j: int, parameter: Parameter, blob: Blob) -> None:
        if parameter.values is not None:
            blob.data[...] = parameter.values
            return
        # A stream of its own for each blob: editing one layer does not change how the others start.
        rng = np.random.default_rng([self._seed & 0xFFFFFFFF, zlib.crc32(node.name.encode()), j])
        fill(blob.data, parameter.filler, rng, node.layer.where())

    def zero_grad(self) -> None:
        """Set all gradients to zero."""
        self._clear()

    def learns(self) -> list[bool]:
        """Return for each layer whether one of its blobs is learned with a rate that is not zero."""
        return [any(own.lr_mult for own in used) for used in self._used]

    def hand_out(self, force: bool) -> None:
        """Give every layer its blobs, in the shapes it wants; without a gradient what is not learned.

        Parameters
        ----------
        force : bool
            ``force_backward``: a rate of zero does not count.
        """
        for node, used in zip(self._graph.nodes, self._used, strict=True):
            before = node.layer.blobs
            blobs = []
            for j, (parameter, own) in enumerate(zip(parameters_of(node), used, strict=True)):
                shape = before[j].shape if node in self._graph.stale else parameter.shape
                blob = Blob(own.blob.name, own.blob.data.reshape(shape))
                if node.backward and parameter.learned and own.blob.diff is not None and (own.lr_mult != 0 or force):
                    blob.diff = own.blob.diff.reshape(shape)
                blobs.append(blob)
            node.layer.blobs = blobs


def check_parameters(node: Node) -> None:
    """Raise ShapeError where a layer needs blobs of other shapes than it has, now that its input has changed."""
    shapes = [blob.shape for blob in node.layer.blobs]
    needed = [parameter.shape for parameter in parameters_of(node)] if shapes else []
    if needed != shapes:
        node.layer.shape_error(
            f"with the new input its parameters would need shapes {', '.join(map(text_of, needed))}, but they are "
            f"{', '.join(map(text_of, shapes))}"
        )


def parameters_of(node: Node) -> list[Parameter]:
    """Return the parameter blobs that a layer asks for, with the shapes of its bottoms as they are now."""
    parameters = node.layer.parameters(*[version.shape for version in node.bottoms])
    for j, parameter in enumerate(parameters):
        node.layer.check_blob(f"its parameter blob {j}", parameter.shape)
    return parameters


def _borrow(node: Node, parameters: Sequence[Parameter], lender: Parameters) -> list[Learnable]:
    """Return the blobs of the layer of the same name."""
    blobs = lender.by_layer[node.name]
    if [parameter.shape for parameter in parameters] != [blob.shape for blob in blobs]:
        mine = ", ".join(text_of(parameter.shape) for parameter in parameters)
        theirs = ", ".join(text_of(blob.shape) for blob in blobs)
        node.layer.shape_error(
            f"its parameters have shapes {mine}, those of the layer of the same name in the "
            f"train net {theirs}; they cannot be shared"
        )
    owners = {id(own.blob): own for own in lender.learnable}
    # What the lender has borrowed itself is not learned here.
    return [owners.get(id(blob)) or Learnable(blob, 0, 0, []) for blob in blobs]


def _check_shared(node: Node, j: int, parameter: Parameter, spec: ParamSpec, owner: Learnable) -> None:
    """Raise ShapeError where a blob does not fit this layer; with ``share_mode: PERMISSIVE`` its size is enough."""
    shape = owner.blob.shape
    if shape == parameter.shape or (spec.share_mode == _PERMISSIVE and count(shape) == count(parameter.shape)):
        return
    node.layer.shape_error(
        f"shares parameter {quoted(owner.share_name)} of {owner.names[0]}, but needs shape "
        f"{text_of(parameter.shape)} where that has {text_of(shape)}",
        "param",
        j,
    )


def _join_multipliers(node: Node, j: int, spec: ParamSpec, owner: Learnable, lr_mult: float, decay_mult: float) -> None:
    """Let this layer say what the owner leaves open; raise NetError where they say different things."""
    for setting, mine, theirs in (
        ("lr_mult", lr_mult, owner.lr_mult),
        ("decay_mult", decay_mult, owner.decay_mult),
    ):
        if spec.HasField(setting):
            # 1 is what it is where nothing is said.
            if theirs not in (mine, 1.0):
                node.layer.error(
                    f"shares parameter {quoted(owner.share_name)} with {owner.names[0]}, but {setting} is {mine:g} "
                    f"here and {theirs:g} there",
                    "param",
                    j,
                )
            setattr(owner, setting, mine)
