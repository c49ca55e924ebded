"""Functions of one number, those with a learned slope, Softmax and Dropout."""

import math
from collections.abc import Callable, Sequence

from caffelite.export.torch.layers import Write, writes
from caffelite.export.torch.text import ModuleText, number
from caffelite.layers.shared.elementwise import ElementWise
from caffelite.net.graph import Node
from caffelite.schema.messages import LayerParameter


def _module(made: Callable[[LayerParameter], str]) -> Write:
    """Return the function for a layer that is a module without weights."""

    def write(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
        return [f"{m.module(node, made(node.layer.param))}({x[0]})"]

    return write


def _relu(param: LayerParameter) -> str:
    slope = param.relu_param.negative_slope
    return f"nn.LeakyReLU({number(slope)})" if slope else "nn.ReLU()"


def _elu(param: LayerParameter) -> str:
    return f"nn.ELU({number(param.elu_param.alpha)})"


def _clip(param: LayerParameter) -> str:
    return f"nn.Hardtanh({number(param.clip_param.min)}, {number(param.clip_param.max)})"


for _type, _made in {
    "BNLL": lambda param: "nn.Softplus()",
    "Clip": _clip,
    "Dropout": lambda param: f"nn.Dropout({number(param.dropout_param.dropout_ratio)})",
    "ELU": _elu,
    "HSigmoid": lambda param: "nn.Hardsigmoid()",
    "HSwish": lambda param: "nn.Hardswish()",
    "Mish": lambda param: "nn.Mish()",
    "ReLU": _relu,
    "Sigmoid": lambda param: "nn.Sigmoid()",
    "TanH": lambda param: "nn.Tanh()",
}.items():
    writes(_type)(_module(_made))


@writes("PReLU")
def _prelu(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    slopes = node.layer.blobs[0].data.reshape(-1)
    return [f"{m.module(node, f'nn.PReLU({slopes.size})', weight=slopes)}({x[0]})"]


@writes("Softmax")
def _softmax(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    axis = node.layer.axis(node.layer.param.softmax_param.axis, node.bottoms[0].shape)
    return [f"{m.module(node, f'nn.Softmax({axis})')}({x[0]})"]


@writes("AbsVal")
def _abs(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    return [f"{x[0]}.abs()"]


@writes("ReLU6")
def _relu6(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    slope = node.layer.param.relu6_param.negative_slope
    if slope:
        return [f"{m.module(node, f'nn.LeakyReLU({number(slope)})')}({x[0]}).clamp(max=6.0)"]
    return [f"{m.module(node, 'nn.ReLU6()')}({x[0]})"]


@writes("NegReLU")
def _negative(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    slope = node.layer.param.relu_param.negative_slope
    low = f"{x[0]}.clamp(max=0.0)"
    return [f"{low} + {number(slope)} * {x[0]}.clamp(min=0.0)" if slope else low]


@writes("Threshold")
def _threshold(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    return [f"({x[0]} > {number(node.layer.param.threshold_param.threshold)}).to({x[0]}.dtype)"]


@writes("Power")
def _power(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.power_param
    if p.power == 0 or p.scale == 0:
        assert isinstance(node.layer, ElementWise)
        return [f"torch.full_like({x[0]}, {number(node.layer.constants[0])})"]
    y = _affine(x[0], p.scale, p.shift)
    return [y if p.power == 1 else f"({y}) ** {number(p.power)}"]


@writes("Exp")
def _exp(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.exp_param
    y = _affine(x[0], p.scale, p.shift)
    return [f"({y}).exp()" if p.base == -1 else f"{number(p.base)} ** ({y})"]


@writes("Log")
def _log(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.log_param
    y = f"({_affine(x[0], p.scale, p.shift)}).log()"
    return [y if p.base == -1 else f"{y} / {math.log(p.base)!r}"]


@writes("Swish")
def _swish(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    beta = node.layer.param.swish_param.beta
    if beta == 1:
        return [f"{m.module(node, 'nn.SiLU()')}({x[0]})"]
    return [f"{x[0]} * ({number(beta)} * {x[0]}).sigmoid()"]


@writes("SeLu")
def _selu(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param.selu_param
    low = f"{number(p.alpha)} * ({x[0]}.clamp(max=0.0).exp() - 1)"
    return [f"{number(getattr(p, 'lambda'))} * ({x[0]}.clamp(min=0.0) + {low})"]


@writes("SpatialDropout")
def _spatial_dropout(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    p = node.layer.param
    own = p.spatial_dropout_param if p.HasField("spatial_dropout_param") else p.dropout_param
    return [f"{m.module(node, f'nn.Dropout2d({number(own.dropout_ratio)})')}({x[0]})"]


@writes("MnActivation", "Split", "Silence")
def _same(m: ModuleText, node: Node, x: list[str]) -> Sequence[str]:
    """Pass the tensor on, as often as it is asked for."""
    return x[:1] * len(node.tops)


def _affine(x: str, scale: float, shift: float) -> str:
    """Return x times a number and a number added, where that changes anything."""
    y = x if scale == 1 else f"{number(scale)} * {x}"
    return f"{y} + {number(shift)}" if shift else y
