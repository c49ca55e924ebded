"""BatchNorm and Scale folded into the layers beside them: the net that is deployed."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import DTypeLike

from caffelite.errors import NetError
from caffelite.layers.contract.blobs import Blob
from caffelite.layers.contract.registry import registry
from caffelite.layers.shared.linear import Linear
from caffelite.layers.shared.normalizing import Normalizing
from caffelite.net import Net
from caffelite.net.deploy import stripped
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
    """A layer of the new net, with its blobs: the old layer's own, or what became of them, in float64."""

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
        NaN where nothing was run.
    """

    net: Net
    layers: dict[str, str]
    dropped: list[str]
    difference: float


def fold(net: Net, check: bool = True) -> Folded:
    """Fold what multiplies and shifts channels into the weights beside it.

    A BatchNorm or a fork's BN with stored statistics, a learned Scale or a Bias goes into the Convolution,
    Deconvolution or InnerProduct that makes what it reads, if nobody else reads that; else into the one that alone
    reads what it makes, if that pads nothing; else it becomes a Scale layer. What trains or measures is gone: see
    :func:`caffelite.net.deploy.stripped`; Input layers stand for the data.

    Parameters
    ----------
    net : Net
        In the TEST phase, with its weights; it is not changed.
    check : bool, optional
        Whether the new net is held against the old one: both are built and run in float64 then, and inputs are of one
        image. Else the new one is in float32, with every blob kept, and its inputs have the shapes of the old one's.

    Returns
    -------
    Folded

    Raises
    ------
    NetError
        A layer normalises by the statistics of the batch, nothing is left to compute, or the new net's outputs are
        not the old one's.
    """
    items, dropped = _stripped(net, one_image=check)
    if not check:
        where = _fold_items(items)
        return Folded(_built(net, items, np.float32, keep=True), where, dropped, np.nan)
    plain = _built(net, _scores(items))
    where = _fold_items(items)
    difference = _difference(plain, _built(net, _scores(items)))
    if not difference <= TOLERANCE:
        raise NetError(
            f"{net.document.filename}: the folded net's outputs would differ by {difference:.1e} of the largest one, "
            "so nothing is written"
        )
    return Folded(_built(net, items), where, dropped, difference)


def _stripped(net: Net, one_image: bool) -> tuple[list[_Item], list[str]]:
    """Return the layers that are left where nothing is learned or measured, and the names of the others."""
    tops = [version for node in net.graph.nodes if node.layer.facts.source for version in node.tops]
    shapes = {v.name: (1, *v.shape[1:]) if one_image and len(v.shape) > 1 else v.shape for v in tops}
    layers, dropped = stripped(net.graph, net.document.filename, shapes)
    items = []
    for layer in layers:
        own = () if layer.node.layer.facts.source else layer.node.layer.blobs
        items.append(_Item(layer.node, layer.param, [blob.data for blob in own]))
    return items, dropped


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


def _built(net: Net, items: list[_Item], dtype: DTypeLike = np.float64, keep: bool = False) -> Net:
    """Return the net of these layers, with their weights as a file has them: in float32."""
    message = NetParameter(name=net.name)
    for item in items:
        message.layer.add().CopyFrom(item.param)
    made = Net(
        net_from_message(message, net.document.filename),
        TEST,
        dtype=dtype,
        keep=keep,
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
