"""What is left of a net when nothing is learned or measured: the net that is deployed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caffelite.errors import DataError, MissingExtraError, NetError
from caffelite.layers.contract.context import Context
from caffelite.net.graph import Graph, Node, Version
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import LayerParameter, NetParameter
from caffelite.schema.text import net_from_message
from caffelite.user_code.permission import AllowPython
from caffelite.words import TEST, Shape, did_you_mean, quoted


@dataclass(eq=False, slots=True)
class Deployed:
    """A layer of the net that is deployed.

    Attributes
    ----------
    node : Node
        The layer of the old net that it was, or the one that brought the data which an Input layer stands for.
    param : LayerParameter
        What it is now; the caller's own.
    """

    node: Node
    param: LayerParameter


def deploy(
    document: NetDocument,
    level: int = 0,
    stages: Sequence[str] = (),
    inputs: Mapping[str, Shape] | None = None,
    allow_python: AllowPython = False,
    kept: Collection[str] = (),
) -> tuple[NetDocument, list[str]]:
    """Return the net that is deployed, and the names of the layers that are gone.

    It is made of the layers of the TEST phase by :func:`stripped`; they stay as they are otherwise. Weights of the old
    net fit it.

    Parameters
    ----------
    document : NetDocument
        As it is trained; its data need not be there where ``inputs`` has the shapes of the blobs.
    level : int, optional
    stages : sequence of str, optional
    inputs : mapping of str to tuple of int, optional
        The shapes of blobs that the net reads; else Input layers keep theirs, and data is read by one image.
    allow_python : bool, optional
    kept : collection of str, optional
        Types of layers that stay though they pass on their bottom here, for a net that is to learn on.

    Raises
    ------
    NetError
        A name in ``inputs`` is no blob that the net reads, nothing is left, or the data is not there and its shape is
        not given.
    """
    context = Context(TEST, allow_python=allow_python, home=Path(document.filename).parent)
    graph = Graph(document, context, level, stages)
    try:
        shapes = _input_shapes(graph, document.filename, inputs or {})
        layers, dropped = stripped(graph, document.filename, shapes, kept)
    finally:
        for node in graph.nodes:
            node.layer.close()
    message = NetParameter(name=graph.name)
    for layer in layers:
        for name in layer.param.top if layer.node.layer.facts.source else ():
            if name not in shapes:
                raise NetError(f"{document.filename}: the shape of {quoted(name)} is not known; {_give(name)}")
        message.layer.add().CopyFrom(layer.param)
    return net_from_message(message, document.filename), dropped


def _give(name: str) -> str:
    return f"give it: --shape {name}:1,CHANNELS,HEIGHT,WIDTH"


def _input_shapes(graph: Graph, filename: str, given: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of the blobs that a net reads, as far as they are known: those given, those of its data."""
    sources = [node for node in graph.nodes if node.layer.facts.source]
    read = [version.name for node in sources for version in node.tops]
    for name in given:
        if name not in read:
            hint = did_you_mean(name, read, f"it reads {', '.join(map(quoted, read))}")
            raise NetError(f"{filename}: a shape is given for {quoted(name)}, which the net does not read{hint}")
    known: dict[str, Shape] = {}
    for node in sources:
        names = [version.name for version in node.tops]
        own = {j: given[name] for j, name in enumerate(names) if name in given}
        try:
            shapes = node.layer.shapes_beside(own) if own else node.layer.shapes()
        except (DataError, MissingExtraError) as error:
            raise NetError(f"{error.message}; the shape is enough, {_give(names[0])}") from None
        for name, shape in zip(names, shapes, strict=True):
            if shape is not None:
                one_image = node.layer.facts.net_input or name in given or len(shape) < 2
                known[name] = shape if one_image else (1, *shape[1:])
    return known


def stripped(
    graph: Graph, filename: str, inputs: Mapping[str, Shape], kept: Collection[str] = ()
) -> tuple[list[Deployed], list[str]]:
    """Return the layers that are left where nothing is learned or measured, and the names of the others.

    What trains or measures is gone, as the facts of the layers say it (``deploy``: Dropout, losses; a loss with a
    softmax or a sigmoid leaves that), or because it reads labels; and Input layers stand for the data, one for each
    blob.

    Parameters
    ----------
    graph : Graph
        Of the TEST phase.
    filename : str
        For errors.
    inputs : mapping of str to tuple of int
        The shapes that the Input layers get.
    kept : collection of str, optional
        As for :func:`deploy`.

    Raises
    ------
    NetError
        There is nothing left.
    """
    layers: list[Deployed] = []
    dropped: list[str] = []
    labels = _labels(graph)
    renamed: dict[Version, Version] = {}
    for node in graph.nodes:
        facts = node.layer.facts
        if facts.source:
            layers += [_input(node, version, inputs) for version in node.tops if version not in labels]
        elif facts.deploy == "identity" and node.layer.type not in kept:
            renamed[node.tops[0]] = renamed.get(node.bottoms[0], node.bottoms[0])
            dropped.append(node.name)
        elif facts.deploy == "dropped" or facts.deploy == "kept" and any(v in labels for v in node.bottoms):
            dropped.append(node.name)
        else:
            layers.append(Deployed(node, _deployed(node, [renamed.get(v, v).name for v in node.bottoms])))
    _rename_tops(layers, renamed)
    if not any(not layer.node.layer.facts.source for layer in layers):
        raise NetError(f"{filename}: without its losses there is nothing left of this net")
    return layers, dropped


def _labels(graph: Graph) -> set[Version]:
    """Return the blobs from outside the net that only losses and measures read."""
    tops = [
        version
        for node in graph.nodes
        if node.layer.facts.source
        for version in (node.tops if node.layer.facts.net_input else node.tops[1:])
    ]
    return {version for version in tops if _is_label(version)}


def _is_label(version: Version) -> bool:
    """Whether a blob is read by losses and measures alone."""
    return bool(version.readers) and all(
        reader.layer.facts.loss
        and j > 0
        or reader.layer.facts.kind == "measure"
        or j in reader.layer.facts.labels
        or not reader.tops
        for reader, j in version.readers
    )


def _input(node: Node, version: Version, inputs: Mapping[str, Shape]) -> Deployed:
    param = LayerParameter(name=version.name, type="Input")
    param.top.append(version.name)
    param.input_param.shape.add(dim=inputs.get(version.name, ()))
    return Deployed(node, param)


def _deployed(node: Node, bottoms: list[str]) -> LayerParameter:
    """Return what stands in the new net for a layer: the layer without what is for training, or what it leaves."""
    layer = node.layer
    param = LayerParameter()
    param.CopyFrom(layer.param)
    for name in ("include", "exclude", "phase", "loss_weight", "propagate_down"):
        param.ClearField(name)
    param.bottom[:] = bottoms
    if layer.facts.deploy not in ("kept", "identity"):
        param.type = layer.facts.deploy
        param.bottom[:] = bottoms[:1]
        param.top[:] = [layer.facts.deploy_top or layer.param.top[0]]
        param.ClearField("loss_param")
    elif param.top and layer.facts.in_place and bottoms and layer.param.bottom[0] == layer.param.top[0]:
        param.top[0] = bottoms[0]
    return param


def _rename_tops(layers: list[Deployed], renamed: dict[Version, Version]) -> None:
    """Let what is computed in place behind a layer that is gone be read under the name that is left."""
    names: dict[str, str] = {}
    for layer in layers:
        if layer.node.layer.facts.source:
            continue
        layer.param.bottom[:] = [names.get(name, name) for name in layer.param.bottom]
        for old, new in zip(layer.node.layer.param.top, layer.param.top, strict=False):
            if old != new and layer.param.type == layer.node.layer.type:
                names[old] = new
            else:
                names.pop(old, None)
