"""The graph of one phase of a net: layers, and the versions of the blobs between them.

Caffe's in-place layers write the same blob again. Here each write is a new version (single assignment) and the name
maps to the last one, so no layer has to survive being in place and fan-out needs no Split layer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from caffelite.errors import NetError, ShapeError
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.group import PIECES
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer_class
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import LayerParameter, NetStateRule
from caffelite.words import Shape, did_you_mean, quoted


@dataclass(eq=False, slots=True)
class Version:
    """One write of a blob.

    Attributes
    ----------
    name : str
    producer : Node
    readers : list of (Node, int)
        Who reads it, as which of their bottoms.
    shape : tuple of int
    loss_weight : float
        What it counts in the net's loss; 0 where it is no loss.
    gradient : bool
        Whether a gradient with respect to it is computed.
    asked : bool
        Whether it is to be read after a pass: its values are kept, and its layer runs as one with none behind it.
    """

    name: str
    producer: "Node"
    readers: list[tuple["Node", int]] = field(default_factory=list)
    shape: Shape = ()
    loss_weight: float = 0.0
    gradient: bool = False
    asked: bool = False

    @property
    def constant(self) -> bool:
        """Whether it does not depend on what is in images."""
        bottoms = self.producer.bottoms
        return self.producer.layer.facts.constant or (bool(bottoms) and all(bottom.constant for bottom in bottoms))

    @property
    def of_batch(self) -> bool:
        """Whether it has no values of each image: it is a number of the whole batch (:meth:`.Layer.of_batch`), or is
        made of such and of what does not depend on images.
        """
        layer, bottoms = self.producer.layer, self.producer.bottoms
        return (
            self.constant
            or layer.of_batch(self.producer.tops.index(self), self.shape)
            or (bool(bottoms) and all(bottom.of_batch for bottom in bottoms))
        )

    @property
    def own_weight(self) -> float:
        """What it counts in this process's part of the loss: where a batch is divided, the parts add up to the loss."""
        return self.loss_weight * (self.producer.layer.context.part if self.of_batch else 1.0)


@dataclass(eq=False, slots=True)
class Node:
    """A layer in the graph.

    Attributes
    ----------
    index : int
        Its place in this graph.
    layer : Layer
    bottoms, tops : list of Version
    backward : bool
        Whether its ``backward`` is run.
    propagate : list of bool
        For each bottom, whether the layer computes its gradient.
    """

    index: int
    layer: Layer
    bottoms: list[Version] = field(default_factory=list)
    tops: list[Version] = field(default_factory=list)
    backward: bool = False
    propagate: list[bool] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.layer.name


class Graph:
    """The layers of a net that belong to one state (phase, level, stages), connected.

    Parameters
    ----------
    document : NetDocument
        The net as read; V2.
    context : Context
        What layers may know of the net.
    level : int, optional
    stages : sequence of str, optional
        With the phase, what ``include`` and ``exclude`` rules are held against.

    Attributes
    ----------
    nodes : list of Node
    names : dict of str to Version
        The last version of each blob.
    outputs : list of str
        Blobs that no layer reads, by name.
    stale : set of Node
        Layers that are bound to shapes or memory which their blobs no longer have: each is asked for its shapes again,
        and bound anew, before it runs.

    Raises
    ------
    NetError
        A bottom that nothing produces, a top that is produced twice, an unknown type, a wrong number of blobs.
    """

    def __init__(self, document: NetDocument, context: Context, level: int = 0, stages: Sequence[str] = ()) -> None:
        self.name: str = document.message.name
        self.nodes: list[Node] = []
        self.names: dict[str, Version] = {}
        self.stale: set[Node] = set()
        unread: dict[str, None] = {}
        for i, param in enumerate(document.message.layer):
            place = partial(document.place, i)
            if not included(param, context.phase, level, stages, place):
                continue
            cls = layer_class(param.type, place, param.name).resolve(param, context)
            node = Node(len(self.nodes), cls(param, context, place))
            self._connect(node, unread)
            self.nodes.append(node)
        self.outputs = sorted(unread)

    def _connect(self, node: Node, unread: dict[str, None]) -> None:
        layer, param = node.layer, node.layer.param
        for j, name in enumerate(param.bottom):
            if name not in self.names:
                hint = did_you_mean(name, self.names)
                layer.error(f"bottom {quoted(name)} is not produced by any layer before it{hint}", "bottom", j)
            version = self.names[name]
            version.readers.append((node, j))
            node.bottoms.append(version)
            unread.pop(name, None)
        tops = list(param.top)
        if layer.facts.loss and not tops:
            tops = ["(automatic)"]
        for j, name in enumerate(tops):
            in_place = j < len(param.bottom) and param.bottom[j] == name
            if name in self.names and not in_place and name != "(automatic)":
                first = self.names[name].producer.name
                layer.error(f"top {quoted(name)} is already produced by layer {quoted(first)}", "top", j)
            version = Version(name, node)
            self.names[name] = version
            node.tops.append(version)
            unread[name] = None
        self._check_counts(node)
        self._set_loss_weights(node)

    @staticmethod
    def _check_counts(node: Node) -> None:
        layer = node.layer
        for what, expected, versions in (
            ("bottom", layer.facts.bottoms, node.bottoms),
            ("top", layer.facts.tops, node.tops),
        ):
            low, high = (expected, expected) if isinstance(expected, int) else expected
            if len(versions) < low or (high is not None and len(versions) > high):
                if low == high:
                    text = f"{low}"
                else:
                    text = f"at least {low}" if high is None else f"{low} to {high}"
                layer.error(
                    f"{layer.param.type} takes {text} {what}{'' if low == high == 1 else 's'}, not {len(versions)}"
                )

    @staticmethod
    def _set_loss_weights(node: Node) -> None:
        layer = node.layer
        weights = list(layer.param.loss_weight)
        if weights and len(weights) != len(node.tops):
            layer.error(f"loss_weight is given {len(weights)} times for {len(node.tops)} tops", "loss_weight")
        if not weights and layer.facts.loss and node.tops:
            weights = [1.0]
        for version, weight in zip(node.tops, weights, strict=False):
            version.loss_weight = weight

    def infer_shapes(self, again: bool = False) -> None:
        """Set the shape of every version; layers raise ShapeError where shapes do not fit.

        With ``again``, for a net that has run, layers behind a dynamic one that do not fit yet stay stale.
        """
        self.stale.clear()
        behind = self.behind_dynamic() if again else set()
        for node in self.nodes:
            if any(version.producer in self.stale for version in node.bottoms):
                self.stale.add(node)
                continue
            try:
                self.infer(node)
            except ShapeError:
                if not any(version.producer in behind for version in node.bottoms):
                    raise
                self.stale.add(node)

    def infer(self, node: Node) -> None:
        """Set the shapes of the tops of a layer from those of its bottoms."""
        self.set_shapes(node, node.layer.shapes(*[v.shape for v in node.bottoms]))
        self.stale.discard(node)
        if node.layer.context.together.size > 1:
            check_divided(node)

    def set_shapes(self, node: Node, shapes: Sequence[Shape]) -> None:
        """Set the shapes of the tops of a layer; whoever reads one that changes is stale then."""
        for version, shape in zip(node.tops, shapes, strict=True):
            shape = tuple(int(n) for n in shape)
            node.layer.check_blob(f"top {quoted(version.name)}", shape)
            self.set_shape(version, shape)

    def set_shape(self, version: Version, shape: Shape) -> None:
        """Set the shape of a version; whoever reads it is stale where that is another one."""
        if shape != version.shape:
            version.shape = shape
            self.stale.update(reader for reader, _ in version.readers)

    def shapes(self) -> dict[Version, Shape]:
        """Return the shapes of all versions."""
        return {version: version.shape for node in self.nodes for version in node.tops}

    def restore(self, shapes: dict[Version, Shape]) -> None:
        """Set the shapes of all versions to what :meth:`shapes` returned; every layer is stale then."""
        for version, shape in shapes.items():
            version.shape = shape
        self.stale.update(self.nodes)

    def behind_dynamic(self, varying: bool = False) -> set[Node]:
        """Return the layers whose tops have shapes that may depend on the data, or (``varying``) are known to."""
        behind: set[Node] = set()
        for node in self.nodes:
            changes = node.layer.varies if varying else node.layer.facts.dynamic
            if changes or any(version.producer in behind for version in node.bottoms):
                behind.add(node)
        return behind

    def mark_gradients(self, learns: Sequence[bool], force: bool) -> None:
        """Decide, by Caffe's rules, which layers run backward and which blobs get a gradient.

        Parameters
        ----------
        learns : sequence of bool
            For each node, whether one of its parameters is learned with a rate that is not zero.
        force : bool
            ``force_backward``: a gradient for every blob that can have one.
        """
        under_loss = self._under_loss()
        for node, has_parameters in zip(self.nodes, learns, strict=True):
            layer = node.layer
            asked = list(layer.param.propagate_down)
            if asked and len(asked) != len(node.bottoms):
                layer.error(
                    f"propagate_down is given {len(asked)} times for {len(node.bottoms)} bottoms", "propagate_down"
                )
            node.propagate = []
            for j, version in enumerate(node.bottoms):
                has_gradient = (asked[j] and version.gradient) if asked else version.gradient
                able = layer.facts.differentiable and j not in layer.facts.without_gradient
                if (
                    has_gradient
                    and not able
                    and layer.facts.differentiable
                    and layer.facts.refuses_gradient
                    and not force
                ):
                    layer.error(
                        f"{layer.param.type} has no gradient with respect to bottom {quoted(version.name)}", "bottom", j
                    )
                node.propagate.append(able and (has_gradient or (force and not layer.facts.source)))
            node.backward = layer.facts.differentiable and (any(node.propagate) or has_parameters)
            if not force and node.index not in under_loss:
                node.backward = False
            if not node.backward:
                node.propagate = [False] * len(node.bottoms)
            for version in node.tops:
                version.gradient = node.backward or (force and layer.facts.source)

    def _under_loss(self) -> set[int]:
        """Return the nodes whose output reaches a loss, other than through ``propagate_down: false``."""
        reached: set[int] = set()
        for node in reversed(self.nodes):
            if any(v.loss_weight for v in node.tops) or any(
                reader.index in reached and self._passes(reader, j) for v in node.tops for reader, j in v.readers
            ):
                reached.add(node.index)
        return reached

    @staticmethod
    def _passes(node: Node, bottom: int) -> bool:
        asked = node.layer.param.propagate_down
        return node.layer.facts.differentiable and (bottom >= len(asked) or asked[bottom])


def included(param: LayerParameter, phase: int, level: int, stages: Sequence[str], place: Callable[[], str]) -> bool:
    """Return whether a layer belongs to a state, by its ``include`` and ``exclude`` rules.

    Any matching ``include`` rule lets the layer in; without ``include`` rules, any matching ``exclude`` rule keeps
    it out. ``place`` says, for errors, where the layer stands.
    """
    if param.include and param.exclude:
        raise NetError(f'{place()}: layer "{param.name}": give either include or exclude rules, not both')
    if param.include:
        return any(_matches(rule, phase, level, stages) for rule in param.include)
    return not any(_matches(rule, phase, level, stages) for rule in param.exclude)


def _matches(rule: NetStateRule, phase: int, level: int, stages: Sequence[str]) -> bool:
    return (
        (not rule.HasField("phase") or rule.phase == phase)
        and (not rule.HasField("min_level") or level >= rule.min_level)
        and (not rule.HasField("max_level") or level <= rule.max_level)
        and all(stage in stages for stage in rule.stage)
        and not any(stage in stages for stage in rule.not_stage)
    )


def check_divided(node: Node) -> None:
    """Refuse a layer that does not do for batches that processes share what it does in one process."""
    layer = node.layer
    if all(version.constant for version in node.bottoms) and node.bottoms:
        return
    many, facts = f"{layer.context.together.size} processes", layer.facts
    if facts.filled_by_caller:
        layer.error(f"{many} cannot share a batch that a program fills in: none knows which images are its own")
    for j, version in enumerate(node.bottoms):
        if version.of_batch and not version.constant and node.tops and not (facts.averages or facts.view):
            layer.error(
                f"{many} that share a batch have a {quoted(version.name)} each, whose mean is that of the batch, and "
                f"{layer.param.type} of a mean is not the mean of {layer.param.type}; train in one process",
                "bottom",
                j,
            )
    if layer.context.dealing == PIECES:
        reason = layer.images_meet(*[version.shape for version in node.bottoms])
        if reason:
            layer.error(
                f"a batch cannot be divided among {many} where images meet in {layer.param.type}: {reason}; with "
                "--batch per-process each has whole batches"
            )
