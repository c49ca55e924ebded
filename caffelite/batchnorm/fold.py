"""BatchNorm and Scale folded into the layers beside them: the net that is deployed."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffelite.batchnorm.statistics import uses_stored
from caffelite.errors import NetError
from caffelite.layers.batchnorm import BatchNorm
from caffelite.layers.contract.blobs import Blob
from caffelite.layers.forks.normalization.bn import BN
from caffelite.net import Net
from caffelite.net.graph import Node, Version
from caffelite.schema.messages import LayerParameter, NetParameter
from caffelite.schema.text import net_from_message
from caffelite.words import TEST, quoted

#: Layers with weights that factors can go into, and whether their output channels are the second axis of them.
_LINEAR = {"Convolution": False, "DepthwiseConvolution": False, "Deconvolution": True, "InnerProduct": False}
#: What a loss layer becomes where nothing is learned.
_WITHOUT_LOSS = {"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
#: At the end of a net these hide differences: they saturate.
_SATURATING = ("Softmax", "Sigmoid", "TanH")
#: The largest difference of outputs, by the largest of them.
TOLERANCE = 1e-5
#: What :attr:`Folded.layers` says of a layer that nothing could take in.
BECAME_SCALE = "a Scale layer"


@dataclass(eq=False, slots=True)
class _Item:
    """A layer of the new net, with its blobs in float64."""

    node: Node
    param: Any
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
        random input, by the largest output. Of a Softmax, Sigmoid or TanH at the end, what it reads counts.
    """

    net: Net
    layers: dict[str, str]
    dropped: list[str]
    difference: float


def fold(net: Net) -> Folded:
    """Fold what multiplies and shifts channels into the weights beside it.

    A BatchNorm or a fork's BN with stored statistics, a learned Scale or a Bias goes into the Convolution,
    Deconvolution or InnerProduct that makes what it reads, if nobody else reads that; else into the one that alone
    reads what it makes, if that pads nothing; else it becomes a Scale layer. Dropout, loss and accuracy layers are
    gone (a loss with a softmax or a sigmoid leaves that), and Input layers of one image stand for the data.

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
    labels = {v for node in net.graph.nodes if node.layer.facts.source for v in node.tops[1:] if _is_label(v)}
    labels |= {node.tops[0] for node in net.graph.nodes if node.layer.type == "Input" and _is_label(node.tops[0])}
    renamed: dict[Version, Version] = {}
    for node in net.graph.nodes:
        layer = node.layer
        kind = _WITHOUT_LOSS.get(layer.type)
        if layer.facts.source:
            items += [_input(node, version) for version in node.tops if version not in labels]
            continue
        if layer.type == "Dropout":
            renamed[node.tops[0]] = renamed.get(node.bottoms[0], node.bottoms[0])
            dropped.append(layer.name)
            continue
        if not kind and (layer.facts.loss or any(v in labels for v in node.bottoms) or layer.type == "Silence"):
            dropped.append(layer.name)
            continue
        param = LayerParameter()
        param.CopyFrom(layer.param)
        for name in ("include", "exclude", "phase", "loss_weight", "propagate_down"):
            param.ClearField(name)
        param.bottom[:] = [renamed.get(v, v).name for v in node.bottoms]
        if kind:
            param.type = kind
            param.bottom[:] = param.bottom[:1]
            param.top[:] = ["prob" if layer.type == "SoftmaxWithLoss" else layer.param.top[0]]
            param.ClearField("loss_param")
        elif param.top and layer.facts.in_place and param.bottom and layer.param.bottom[0] == layer.param.top[0]:
            param.top[0] = param.bottom[0]
        blobs = [blob.data.astype(np.float64) for blob in layer.blobs]
        items.append(_Item(node, param, blobs))
    _rename_tops(items, renamed)
    if not any(not item.node.layer.facts.source for item in items):
        raise NetError(f"{net.document.filename}: without its losses there is nothing left of this net")
    return items, dropped


def _rename_tops(items: list[_Item], renamed: dict[Version, Version]) -> None:
    """Let what is computed in place behind a layer that is gone be read under the name that is left."""
    names: dict[str, str] = {}
    for item in items:
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
        or not reader.layer.facts.differentiable
        or j in reader.layer.facts.without_gradient
        for reader, j in version.readers
    )


def _input(node: Node, version: Version) -> _Item:
    param = LayerParameter(name=version.name, type="Input")
    param.top.append(version.name)
    param.input_param.shape.add(dim=(1, *version.shape[1:]) if len(version.shape) > 1 else version.shape)
    return _Item(node, param)


def _fold_items(items: list[_Item]) -> dict[str, str]:
    """Fold in place; return for each layer that multiplies and shifts what became of it."""
    where: dict[str, str] = {}
    makers: dict[Version, _Item] = {item.node.tops[0]: item for item in items if item.node.tops}
    for item in list(items):
        layer = item.node.layer
        if isinstance(layer, BatchNorm | BN) and not uses_stored(layer):
            layer.error(
                "it normalises by the statistics of each batch here, which no weights can do; let it take stored ones "
                "(BatchNorm: leave use_global_stats unset; BN: bn_mode: INFERENCE, or moving_average: true)"
            )
        if not layer.facts.affine:
            continue
        source = item.node.bottoms[0]
        factor, offset = np.ones(source.shape[1]), np.zeros(source.shape[1])
        layer.to_affine(factor, offset)
        maker = makers.get(source)
        alone = len(source.readers) == 1
        if maker is not None and alone and _takes(maker):
            _scale_outputs(maker, factor, offset)
        elif maker is not None and alone and maker.param.name in where and maker in items:
            # Another one of these, that became a Scale layer.
            maker.blobs = [maker.blobs[0] * factor, maker.blobs[1] * factor + offset]
        else:
            where[item.param.name] = _become_scale(item, factor, offset)
            continue
        where[item.param.name] = f"in {maker.param.name}"
        makers[item.node.tops[0]] = maker
        maker.param.top[0] = item.param.top[0]
        items.remove(item)
    for item in [item for item in items if item.param.type == "Scale" and item.param.name in where]:
        reader = _only_reader(item, items)
        if reader is not None and _takes(reader) and _scale_inputs(reader, *item.blobs):
            where[item.param.name] = f"in {reader.param.name}"
            for name in [name for name, place in where.items() if place == f"in {item.param.name}"]:
                where[name] = f"in {reader.param.name}"
            reader.param.bottom[:] = [
                item.param.bottom[0] if name == item.param.top[0] else name for name in reader.param.bottom
            ]
            items.remove(item)
    return where


def _takes(item: _Item) -> bool:
    """Whether factors can go into the weights of a layer: it has its own, and one top."""
    layer = item.node.layer
    if layer.type not in _LINEAR or len(item.param.top) != 1 or any(spec.name for spec in layer.param.param):
        return False
    settings = item.param.inner_product_param if layer.type == "InnerProduct" else item.param.convolution_param
    return bool(settings.axis == 1)


def _become_scale(item: _Item, factor: np.ndarray, offset: np.ndarray) -> str:
    old = item.param
    item.param = LayerParameter(name=old.name, type="Scale", bottom=old.bottom, top=old.top)
    item.param.scale_param.bias_term = True
    item.blobs = [factor, offset]
    return BECAME_SCALE


def _scale_outputs(item: _Item, factor: np.ndarray, offset: np.ndarray) -> None:
    weights = item.blobs[0]
    if item.node.layer.type == "InnerProduct":
        item.blobs[0] = weights * (factor if item.param.inner_product_param.transpose else factor[:, None])
    elif _LINEAR[item.node.layer.type]:
        # Input channels, then the output channels of a group.
        groups = item.param.convolution_param.group
        parts = weights.reshape(groups, -1, *weights.shape[1:])
        across = factor.reshape(groups, 1, -1, *[1] * (weights.ndim - 2))
        item.blobs[0] = (parts * across).reshape(weights.shape)
    else:
        item.blobs[0] = weights * factor.reshape(-1, *[1] * (weights.ndim - 1))
    _set_bias(item, (item.blobs[1] if len(item.blobs) > 1 else 0) * factor + offset)


def _scale_inputs(item: _Item, factor: np.ndarray, offset: np.ndarray) -> bool:
    """Multiply and shift what a layer reads, in its weights; return whether that can be."""
    layer, weights = item.node.layer, item.blobs[0]
    if layer.type == "InnerProduct":
        turned = weights if item.param.inner_product_param.transpose else weights.T
        # Each channel of a map is as many inputs as it has pixels.
        factor, offset = (np.repeat(values, len(turned) // values.size) for values in (factor, offset))
        shift = offset @ turned
        scaled = turned * factor[:, None]
        item.blobs[0] = scaled if item.param.inner_product_param.transpose else np.ascontiguousarray(scaled.T)
    elif layer.type == "Convolution":
        settings = item.param.convolution_param
        if offset.any() and (any(settings.pad) or settings.pad_h or settings.pad_w):
            return False  # the zeros around the map are not shifted
        groups = settings.group
        parts = weights.reshape(groups, -1, *weights.shape[1:])
        rest = [1] * (weights.ndim - 2)
        shift = (parts * offset.reshape(groups, 1, -1, *rest)).sum(axis=tuple(range(2, parts.ndim))).reshape(-1)
        item.blobs[0] = (parts * factor.reshape(groups, 1, -1, *rest)).reshape(weights.shape)
    else:
        return False
    _set_bias(item, (item.blobs[1] if len(item.blobs) > 1 else 0) + shift)
    return True


def _set_bias(item: _Item, bias: np.ndarray) -> None:
    kind = "inner_product_param" if item.node.layer.type == "InnerProduct" else "convolution_param"
    getattr(item.param, kind).bias_term = True
    item.blobs[1:] = [bias]


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
        if item.param.type not in _SATURATING
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
