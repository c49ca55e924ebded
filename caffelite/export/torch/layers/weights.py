"""Layers of weights: Convolution, Deconvolution, InnerProduct, Embed, and those that walk along sequences."""

from collections.abc import Sequence

from caffelite.export.torch.layers import refuses, writes
from caffelite.export.torch.text import ModuleText, axes_of
from caffelite.layers.convolution import Convolution
from caffelite.layers.forks.sequence.lstm import Lstm
from caffelite.layers.inner_product import InnerProduct
from caffelite.layers.shared.recurrent import Recurrent
from caffelite.net.graph import Node
from caffelite.words import count

#: PyTorch's names for the parameters of a recurrent layer, by those of :class:`Recurrent`.
_RECURRENT = {
    "x": "weight_x",
    "bias": "bias",
    "static": "weight_static",
    "h": "weight_h",
    "out": "weight_out",
    "out bias": "bias_out",
}


@writes(
    "Convolution", "DepthwiseConvolution", "ConvolutionDepthwise", "Deconvolution", "Convolution3D", "NdConvolution"
)
def _convolution(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    layer, shape = node.layer, node.bottoms[0].shape
    assert isinstance(layer, Convolution)
    axis, spatial = layer.axis(layer.settings.axis, shape), len(shape) - 2
    if axis != 1 or not 1 <= spatial <= 3:
        layer.error("PyTorch has images, channels and one to three spatial axes, in this order", "axis")
    _, channels, sizes = layer.sizes(shape)
    _, kernel, stride, pad, dilation = (axes_of(values) for values in sizes)
    _, group = layer.counts(channels)
    settings = [str(channels), str(layer.settings.num_output), kernel]
    settings += [f"stride={stride}"] if stride != "1" else []
    settings += [f"padding={pad}"] if pad != "0" else []
    settings += [f"dilation={dilation}"] if dilation != "1" else []
    settings += [f"groups={group}"] if group > 1 else []
    settings += ["bias=False"] if len(layer.blobs) == 1 else []
    kind = "ConvTranspose" if layer.param.type == "Deconvolution" else "Conv"
    parameters = dict(zip(("weight", "bias"), layer.blobs, strict=False))
    made = m.module(node, f"nn.{kind}{spatial}d({', '.join(settings)})", **parameters)
    # NdConvolution leaves axes of one element out.
    gone = tuple(axis for axis, n in enumerate(Convolution.shapes(layer, shape)[0]) if axis > 1 and n == 1)
    squeezed = f".squeeze({gone})" if gone and layer.param.type == "NdConvolution" else ""
    return [f"{made}({bottom}){squeezed}" for bottom in x]


@writes("InnerProduct")
def _inner_product(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    layer, shape = node.layer, node.bottoms[0].shape
    assert isinstance(layer, InnerProduct)
    axis = layer.axis(layer.settings.axis, shape)
    settings = f"{count(shape[axis:])}, {layer.settings.num_output}{'' if layer.settings.bias_term else ', bias=False'}"
    weight, *bias = layer.blobs
    made = m.module(
        node,
        f"nn.Linear({settings})",
        weight=weight.data.T if layer.settings.transpose else weight,
        **dict(zip(("bias",), bias, strict=False)),
    )
    return [f"{made}({x[0]})" if axis == len(shape) - 1 else f"{made}({x[0]}.flatten({axis}))"]


@writes("Embed")
def _embed(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    settings, blobs = node.layer.param.embed_param, node.layer.blobs
    sizes = f"({settings.input_dim}, {settings.num_output})"
    if len(blobs) > 1:
        return [f"{m.module(node, m.form('Embed') + sizes, weight=blobs[0], bias=blobs[1])}({x[0]})"]
    return [f"{m.module(node, f'nn.Embedding{sizes}', weight=blobs[0])}({x[0]}.long())"]


@writes("Parameter")
def _parameter(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    return [m.parameter(node, node.layer.blobs[0])]


@writes("LSTM", "RNN")
def _recurrent(m: ModuleText, node: Node, x: list[str]) -> str:
    layer = node.layer
    assert isinstance(layer, Recurrent)
    settings = [count(node.bottoms[0].shape[2:]), layer.size]
    settings += [count(node.bottoms[2].shape[1:])] if layer.static else []
    parameters = {_RECURRENT[key]: blob for key, blob in layer.named().items()}
    made = m.module(node, f"{m.form(layer.param.type)}({', '.join(map(str, settings))})", **parameters)
    given = x[: 2 + layer.static] + [f"{name}={x[j]}" for name, j in zip("hc", layer.exposed, strict=False)]
    called = f"{made}({', '.join(given)})"
    return called if layer.exposed else f"{called}[0]"


@writes("Lstm")
def _lstm(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """Caffe's LSTM with its bottoms in another shape; each pass begins anew."""
    layer = node.layer
    assert isinstance(layer, Lstm)
    _, streams, inputs = layer.extent(*(version.shape for version in node.bottoms))
    parameters = {_RECURRENT[key]: blob for key, blob in layer.named().items()}
    made = m.module(node, f"{m.form('LSTM')}({inputs}, {layer.size})", **parameters)
    if len(node.tops[0].shape) == 2:
        goes_on = x[1] if len(x) > 1 else f"{x[0]}.new_ones({x[0]}.shape[0])"
        steps = f"{x[0]}.reshape(-1, {streams}, {inputs}), {goes_on}.reshape(-1, {streams})"
        return [f"{made}({steps})[0].flatten(0, 1)"]
    goes_on = f"{x[1]}.reshape({x[0]}.shape[:2])" if len(x) > 1 else f"{x[0]}.new_ones({x[0]}.shape[:2])"
    return [f"{made}({x[0]}, {goes_on})[0]"]


refuses("its filters differ from place to place, and nothing in PyTorch itself has such", "Local")
refuses(
    "numbers of few bits have no form in PyTorch here", "ConvolutionRistretto", "DeconvolutionRistretto", "FcRistretto"
)
