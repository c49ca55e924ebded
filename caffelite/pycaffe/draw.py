"""``caffe.draw``: a net as a picture, and as a graph of pydot's with Caffe's shapes and colours."""

import re
from functools import partial
from pathlib import Path
from typing import Any

from caffelite.draw.boxes import PHASES, build, in_phase
from caffelite.draw.diagram import picture
from caffelite.errors import Error, MissingExtraError, NetError
from caffelite.files import atomic_write
from caffelite.schema.conversion import convert_message
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import NetParameter, PoolingParameter
from caffelite.schema.text import net_from_message
from caffelite.words import did_you_mean, quoted

LAYER_STYLE_DEFAULT: dict[str, Any] = {"shape": "record", "fillcolor": "#6495ED", "style": "filled"}
NEURON_LAYER_STYLE: dict[str, Any] = {"shape": "record", "fillcolor": "#90EE90", "style": "filled"}
BLOB_STYLE: dict[str, Any] = {"shape": "octagon", "fillcolor": "#E0E0E0", "style": "filled"}

_COLOURS = {"Convolution": "#FF5050", "Deconvolution": "#FF5050", "Pooling": "#FF9900", "InnerProduct": "#CC33FF"}
#: The types whose learning rates are told.
_LEARNING = ("Convolution", "Deconvolution", "InnerProduct")
_DIRECTIONS = ("TB", "BT", "LR", "RL")


def get_pooling_types_dict() -> dict[int, str]:
    """Return the names of the ways of pooling by their numbers."""
    methods = PoolingParameter.DESCRIPTOR.enum_types_by_name["PoolMethod"].values
    return {method.number: method.name for method in methods}


def get_edge_label(layer: Any) -> str:
    """Return what stands beside the arrow from a layer to its top: the batch's size, or how many outputs there are."""
    if layer.type == "Data":
        return f"Batch {layer.data_param.batch_size}"
    if layer.type in ("Convolution", "Deconvolution"):
        return str(layer.convolution_param.num_output)
    if layer.type == "InnerProduct":
        return str(layer.inner_product_param.num_output)
    return '""'


def get_layer_lr_mult(layer: Any) -> tuple[float, float]:
    """Return the ``lr_mult`` of the weights and of the biases of a layer that has both.

    Raises
    ------
    NetError
        It is of another type than Convolution, Deconvolution and InnerProduct, or has more than two parameters.
    """
    if layer.type not in _LEARNING:
        raise NetError(f"layer {quoted(layer.name)} of type {layer.type} has no learning rates of weights and biases")
    rates = [spec.lr_mult for spec in layer.param]
    if len(rates) > 2:
        raise NetError(f"layer {quoted(layer.name)}: weights and biases have two learning rates, not {len(rates)}")
    rates += [1.0] * (2 - len(rates))
    return rates[0], rates[1]


def get_layer_label(layer: Any, rankdir: str, display_lrm: bool = False) -> str:
    """Return what stands in the box of a layer, in quotes, as Graphviz reads it.

    Parameters
    ----------
    layer : LayerParameter
    rankdir : str
        Below each other in a graph from left to right, else beside each other.
    display_lrm : bool, optional
        Whether learning rates are told.
    """
    parts = [_label_text(layer.name)]
    if layer.type == "Pooling":
        pooling = layer.pooling_param
        parts.append(f"({layer.type} {get_pooling_types_dict()[pooling.pool]})")
        parts += _window(pooling.kernel_size, pooling.stride, pooling.pad)
    else:
        parts.append(f"({_label_text(layer.type)})")
    if layer.type in ("Convolution", "Deconvolution"):
        filters = layer.convolution_param
        parts += _window([*filters.kernel_size, 1][0], [*filters.stride, 1][0], [*filters.pad, 0][0])
    if display_lrm:
        parts += _rates(layer)
    return '"' + (" " if rankdir in ("TB", "BT") else r"\n").join(parts) + '"'


def _label_text(text: str) -> str:
    """Return a text as the label of a box of shape "record" has it, where braces and bars mean something."""
    return re.sub(r'([\\"{}|<>])', r"\\\1", text)


def _window(size: int, stride: int, pad: int) -> list[str]:
    return [f"kernel size: {size}", f"stride: {stride}", f"pad: {pad}"]


def _rates(layer: Any) -> list[str]:
    """Return the line about the learning rates of a layer, none where it has none."""
    if layer.type not in _LEARNING or not any(get_layer_lr_mult(layer)):
        return []
    return ["lr mult: {:.1f}, {:.1f}".format(*get_layer_lr_mult(layer))]


def choose_color_by_layertype(layertype: str) -> str:
    """Return the colour of a layer's box in pycaffe's drawings."""
    return _COLOURS.get(layertype, LAYER_STYLE_DEFAULT["fillcolor"])


def get_pydot_graph(
    caffe_net: Any, rankdir: str, label_edges: bool = True, phase: int | None = None, display_lrm: bool = False
) -> Any:
    """Return a net as a ``pydot.Dot`` that looks like pycaffe's drawings.

    Parameters
    ----------
    caffe_net : NetParameter
    rankdir : str
        TB, BT, LR or RL.
    label_edges : bool, optional
        Whether arrows to tops tell how many outputs there are.
    phase : {TRAIN, TEST}, optional
        The phase whose layers are drawn, all by default.
    display_lrm : bool, optional
        Whether learning rates are told.

    Raises
    ------
    MissingExtraError
        pydot is not installed.
    NetError
        A layer has both include and exclude rules.
    """
    try:
        import pydot
    except ImportError:
        raise MissingExtraError(
            "get_pydot_graph needs pydot: pip install pydot; draw_net and draw_net_to_file do not"
        ) from None
    document = _document(caffe_net)
    graph = pydot.Dot(_dot_name(document.message.name or "Net"), graph_type="digraph", rankdir=_direction(rankdir))
    blobs: set[str] = set()
    for i, layer in enumerate(document.message.layer):
        if phase is not None and not in_phase(layer, phase, partial(document.place, i)):
            continue
        in_place = len(layer.bottom) == 1 and list(layer.bottom) == list(layer.top)
        style = (
            NEURON_LAYER_STYLE
            if in_place
            else LAYER_STYLE_DEFAULT | {"fillcolor": choose_color_by_layertype(layer.type)}
        )
        node = _dot_name(f"{layer.name}_{layer.type}")
        graph.add_node(pydot.Node(node, label=get_layer_label(layer, rankdir, display_lrm), **style))
        for blob in (*layer.bottom, *layer.top):
            if blob not in blobs:
                blobs.add(blob)
                graph.add_node(pydot.Node(_dot_name(f"{blob}_blob"), label=_dot_name(blob), **BLOB_STYLE))
        label = get_edge_label(layer) if label_edges else '""'
        for blob in layer.bottom:
            graph.add_edge(pydot.Edge(_dot_name(f"{blob}_blob"), node, label='""'))
        for blob in layer.top:
            graph.add_edge(pydot.Edge(node, _dot_name(f"{blob}_blob"), label=label))
    return graph


def _dot_name(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def draw_net(
    caffe_net: Any, rankdir: str, ext: str = "png", phase: int | None = None, display_lrm: bool = False
) -> bytes:
    """Return a picture of a net: that of ``caffelite draw``, with shapes and numbers of parameters.

    Parameters
    ----------
    caffe_net : NetParameter
    rankdir : str
        TB, BT, LR or RL.
    ext : str, optional
        ``png``, ``svg``, ``pdf`` or another that Graphviz draws, ``dot`` or ``raw`` (its own language), ``md``
        (Mermaid).
    phase : {TRAIN, TEST}, optional
        The phase that is drawn; by default both, with what belongs to one alone marked.
    display_lrm : bool, optional
        Whether the learning rates of Convolution, Deconvolution and InnerProduct are told.

    Raises
    ------
    MissingExtraError
        Graphviz is needed, and neither PyGraphviz nor ``dot`` is installed.
    Error
        There is no such format, direction or phase.
    NetError
        A layer has both include and exclude rules.
    """
    document = _document(caffe_net)
    diagram = build(document, _phase_name(phase))
    if display_lrm:
        rates = {layer.name: _rates(layer) for layer in document.message.layer}
        for box in diagram.boxes:
            for row in box.rows:
                row.settings += rates[row.name]
    kind = "dot" if ext == "raw" else ext.lower()
    return picture(diagram, kind, _direction(rankdir), f"a net as {ext}")


def draw_net_to_file(
    caffe_net: Any, filename: str | Path, rankdir: str = "LR", phase: int | None = None, display_lrm: bool = False
) -> None:
    """Draw a net to a file, in the format that the ending of its name says: see :func:`draw_net`."""
    ext = Path(filename).suffix[1:]
    if not ext:
        raise Error(f"{filename}: the name of a picture ends in .svg, .png, .pdf or another format")
    content = draw_net(caffe_net, rankdir, ext, phase, display_lrm)
    with atomic_write(filename) as temporary:
        temporary.write_bytes(content)


def _document(net: Any) -> NetDocument:
    """Take a net of any module that was made from a ``caffe.proto``."""
    return net_from_message(net if isinstance(net, NetParameter) else convert_message(net, NetParameter))


def _phase_name(phase: int | None) -> str:
    names = {number: name for name, number in PHASES.items()}
    if phase is not None and phase not in names:
        raise Error(f"the phase that is drawn is caffe.TRAIN, caffe.TEST or None (both), not {phase!r}")
    return "ALL" if phase is None else names[phase]


def _direction(rankdir: str) -> str:
    if rankdir not in _DIRECTIONS:
        raise Error(
            f"the direction of a drawing is TB, BT, LR or RL, not {rankdir!r}{did_you_mean(rankdir, _DIRECTIONS)}"
        )
    return rankdir
