"""BatchNorm and Scale folded into the layers beside them: the net that is deployed."""

from dataclasses import dataclass, field

import numpy as np

from caffelite.errors import NetError
from caffelite.layers.contract.blobs import Blob
from caffelite.layers.contract.registry import registry
from caffelite.layers.shared.linear import Linear
from caffelite.layers.shared.normalizing import Normalizing
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.schema.messages import LayerParameter, NetParameter
from caffelite.schema.text import net_from_message
from caffelite.words import TEST, quoted

#: The largest difference of outputs, by the largest of them.
TOLERANCE = 1e-5
#: What :attr:`Folded.layers` says of a layer that nothing could take in.
BECAME_SCALE = "a Scale layer"


@dataclass(eq=False, slots=True)
class _Item:
    """A layer of the new net, with its blobs in float64."""

    node: Node
    param: LayerParameter
    blobs: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Folded:
    """A net without BatchNorm.

    Attributes
    ----------
    net : Net
        The new net with its weights.
    layers : dict of str to str
        For each BatchNorm, Scale and Bias layer, where it is now.
    dropped : list of str
        Other layers that are gone.
    difference : float
        The largest difference of an output from that of the net without its losses, before anything was folded, on
        random input, by the largest output. Of a layer that saturates at the end (Softmax), what it reads counts.
    """

    net: Net
    layers: dict[str, str]
    dropped: list[str]
    difference: float


def fold(net: Net) -> Folded:
    """Fold what multiplies and shifts channels into the weights beside it.

    A BatchNorm or a fork's BN with stored statistics, a learned Scale or a Bias goes into the Convolution,
    Deconvolution or InnerProduct that makes what it reads, if nobody else reads that; else into the one that alone
    reads what it makes, if that pads nothing; else it becomes a Scale layer. What trains or measures is gone, as the
    facts of the layers say it (``deploy``: Dropout, losses; a loss with a softmax or a sigmoid leaves that), or because
    it reads labels; and Input layers of one image stand for the data.

    Parameters
    ----------
    net : Net
        In the TEST phase, with its weights; it is not changed.

    Returns
    -------
    Folded

    Raises
    ------
    NetError
        A layer normalises by the statistics of the batch, nothing is left to compute, or the new net's outputs are
        not the old one's.
    """
    items, dropped = _stripped(net)
    plain = _built(net, _scores(items))
    where = _fold_items(items)
    difference = _difference(plain, _built(net, _scores(items)))
    if not difference <= TOLERANCE:
        raise NetError(
            f"{net.document.filename}: the folded net's outputs would differ by {difference:.1e} of the largest one, "
            "so nothing is written"
        )
    return Folded(_built(net, items), where, dropped, difference)


def _stripped(net: Net) -> tuple[list[_Item], list[str]]:
    """Return the layers that are left where nothing is learned or measured, and the names of the others."""
    items: list[_Item] = []
    dropped: list[str] = []
    labels = _labels(net)
    renamed: dict[Version, Version] = {}
    for node in net.graph.nodes:
        facts = node.layer.facts
        if facts.source:
            items += [_input(node, version) for version in node.tops if version not in labels]
        elif facts.deploy == "identity":
            renamed[node.tops[0]] = renamed.get(node.bottoms[0], node.bottoms[0])
            dropped.append(node.name)
        elif facts.deploy == "dropped" or facts.deploy == "kept" and any(v in labels for v in node.bottoms):
            dropped.append(node.name)
        else:
            blobs = [blob.data.astype(np.float64) for blob in node.layer.blobs]
            items.append(_Item(node, _deployed(node, [renamed.get(v, v).name for v in node.bottoms]), blobs))
    _rename_tops(items, renamed)
    if not any(not item.node.layer.facts.source for item in items):
        raise NetError(f"{net.document.filename}: without its losses there is nothing left of this net")
    return items, dropped


def _labels(net: Net) -> set[Version]:
    """Return the blobs from outside the net that only losses and measures read."""
    tops = [
        version
        for node in net.graph.nodes
        if node.layer.facts.source
        for version in (node.tops if node.layer.facts.net_input else node.tops[1:])
    ]
    return {version for version in tops if _is_label(version)}


def _deployed(node: Node, bottoms: list[str]) -> LayerParameter:
    """Return what stands in the new net for a layer: the layer without what is for training, or what it leaves."""
    layer = node.layer
    param = LayerParameter()
    param.CopyFrom(layer.param)
    for name in ("include", "exclude", "phase", "loss_weight", "propagate_down"):
        param.ClearField(name)
    param.bottom[:] = bottoms
    if layer.facts.deploy != "kept":
        param.type = layer.facts.deploy
        param.bottom[:] = bottoms[:1]
        param.top[:] = [layer.facts.deploy_top or layer.param.top[0]]
        param.ClearField("loss_param")
    elif param.top and layer.facts.in_place and bottoms and layer.param.bottom[0] == layer.param.top[0]:
        param.top[0] = bottoms[0]
    return param


def _rename_tops(items: list[_Item], renamed: dict[Version, Version]) -> None:
    """Let what is computed in place behind a layer that is gone be read under the name that is left."""
    names: dict[str, str] = {}
    for item in items:
        if item.node.layer.facts.source:
            continue
        item.param.bottom[:] = [names.get(name, name) for name in item.param.bottom]
        for old, new in zip(item.node.layer.param.top, item.param.top, strict=False):
            if old != new and item.param.type == item.node.layer.type:
                names[old] = new
            else:
                names.pop(old, None)


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


def _input(node: Node, version: Version) -> _Item:
    param = LayerParameter(name=version.name, type="Input")
    param.top.append(version.name)
    param.input_param.shape.add(dim=(1, *version.shape[1:]) if len(version.shape) > 1 else version.shape)
    return _Item(node, param)


def _fold_items(items: list[_Item]) -> dict[str, str]:
    """Fold in place; return for each layer that multiplies and shifts what became of it."""
    where = _fold_into_makers(items)
    _fold_into_readers(items, where)
    return where


def _fold_into_makers(items: list[_Item]) -> dict[str, str]:
    """Fold what multiplies and shifts into the layer that makes what it reads; what none can take becomes a Scale."""
    where: dict[str, str] = {}
    makers: dict[Version, _Item] = {item.node.tops[0]: item for item in items if item.node.tops}
    for item in list(items):
        layer = item.node.layer
        if isinstance(layer, Normalizing) and not layer.uses_stored:
            layer.error(
                "it normalises by the statistics of each batch here, which no weights can do; let it take stored ones "
                "(BatchNorm: leave use_global_stats unset; BN: bn_mode: INFERENCE, or moving_average: true)"
            )
        if not layer.facts.affine:
            continue
        source = item.node.bottoms[0]
        factor, offset = np.ones(source.shape[1]), np.zeros(source.shape[1])
        layer.to_affine(factor, offset)
        maker = makers.get(source) if len(source.readers) == 1 else None
        if maker is not None and (linear := _folding(maker, "behind")) is not None:
            _set_blobs(maker, linear, linear.fold_behind(maker.blobs, factor, offset))
        elif maker is not None and where.get(maker.param.name) == BECAME_SCALE:
            maker.blobs = [maker.blobs[0] * factor, maker.blobs[1] * factor + offset]
        else:
            _become_scale(item, factor, offset)
            where[item.param.name] = BECAME_SCALE
            continue
        where[item.param.name] = f"in {maker.param.name}"
        makers[item.node.tops[0]] = maker
        maker.param.top[0] = item.param.top[0]
        items.remove(item)
    return where


def _fold_into_readers(items: list[_Item], where: dict[str, str]) -> None:
    """Fold what became a Scale layer into the one layer that reads it, where that can take it."""
    for item in [item for item in items if where.get(item.param.name) == BECAME_SCALE]:
        reader = _only_reader(item, items)
        linear = None if reader is None else _folding(reader, "before")
        if reader is None or linear is None:
            continue
        factor, offset = item.blobs
        blobs = linear.fold_before(reader.blobs, factor, offset)
        if blobs is None:
            continue
        _set_blobs(reader, linear, blobs)
        where[item.param.name] = f"in {reader.param.name}"
        for name in [name for name, place in where.items() if place == f"in {item.param.name}"]:
            where[name] = f"in {reader.param.name}"
        reader.param.bottom[:] = [
            item.param.bottom[0] if name == item.param.top[0] else name for name in reader.param.bottom
        ]
        items.remove(item)


def _folding(item: _Item, side: str) -> Linear | None:
    """Return the layer, if its weights are its own and take in what is "before" or "behind" it, and it has one top."""
    layer = item.node.layer
    if len(item.param.top) != 1 or any(spec.name for spec in layer.param.param) or side not in layer.facts.folds:
        return None
    assert isinstance(layer, Linear)
    return layer


def _set_blobs(item: _Item, layer: Linear, blobs: list[np.ndarray]) -> None:
    item.blobs = blobs
    getattr(item.param, layer.message).bias_term = True


def _become_scale(item: _Item, factor: np.ndarray, offset: np.ndarray) -> None:
    old = item.param
    item.param = LayerParameter(name=old.name, type="Scale", bottom=old.bottom, top=old.top)
    item.param.scale_param.bias_term = True
    item.blobs = [factor, offset]


def _only_reader(item: _Item, items: list[_Item]) -> _Item | None:
    """Return the one layer that reads what this one makes."""
    name, position = item.param.top[0], items.index(item)
    readers = []
    for other in items[position + 1 :]:
        if name in other.param.bottom:
            readers.append(other)
        if name in other.param.top:
            break
    return readers[0] if len(readers) == 1 and name not in readers[0].param.top else None


def _built(net: Net, items: list[_Item]) -> Net:
    """Return the net of these layers, in float64, with their weights as a file has them."""
    message = NetParameter(name=net.name)
    for item in items:
        message.layer.add().CopyFrom(item.param)
    made = Net(
        net_from_message(message, net.document.filename),
        TEST,
        dtype=np.float64,
        learn=False,
        allow_python=net.context.allow_python,
        output_root=None,
    )
    for item, layer in zip(items, made.layers, strict=True):
        for own, values in zip(layer.blobs, item.blobs, strict=True):
            own.data[...] = values.astype(np.float32).reshape(own.shape)
    made.changed()
    return made


def _scores(items: list[_Item]) -> list[_Item]:
    """Return the layers without those at the end whose outputs saturate."""
    return [
        item
        for i, item in enumerate(items)
        if not registry()[item.param.type].facts.saturates
        or any(name in item.param.top for later in items[i + 1 :] for name in later.param.bottom)
    ]


def _sources(net: Net) -> list[Blob]:
    return [net.plan.blob(node.tops[0]) for node in net.graph.nodes if node.layer.facts.source]


def _difference(old: Net, new: Net) -> float:
    rng = np.random.default_rng(1)
    # By version, not by name: the first layer may work in place.
    for ours, theirs in zip(_sources(old), _sources(new), strict=True):
        ours.data[...] = theirs.data[...] = rng.standard_normal(ours.shape)
    for net in (old, new):
        net.forward()
    if old.outputs != new.outputs:
        raise NetError(
            f"{old.document.filename}: the folded net would have the outputs {', '.join(map(quoted, new.outputs))}, "
            f"not {', '.join(map(quoted, old.outputs))}"
        )
    pairs = [(old.blobs[name].data, new.blobs[name].data) for name in old.outputs]
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-30)) for a, b in pairs)


__all__ = ["BECAME_SCALE", "TOLERANCE", "Folded", "fold"]
