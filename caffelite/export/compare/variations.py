"""What other programs are known to do otherwise, as changes of a part of a net that can be run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from caffelite.export.compare.cut import Cut, CutLayer
from caffelite.layers.pooling import Pooling
from caffelite.schema.messages import LayerParameter
from caffelite.words import quoted

#: Where the eps of a layer type stands.
_EPS = {"BatchNorm": "batch_norm_param", "MVN": "mvn_param", "Normalize": "norm_param", "BN": "bn_param"}
#: Those of Caffe, PyTorch, TensorFlow and Keras, and of converters.
_EPS_VALUES = (1e-5, 1e-3, 1e-4, 2e-5, 1.001e-5, 1e-6, 1e-9, 1e-10, 1e-2, 0.0)
#: Means and a factor that images are prepared with, blue first.
_PREPARED: tuple[tuple[str, tuple[float, ...], float], ...] = (
    ("the mean 104, 117, 123 subtracted", (104, 117, 123), 1),
    ("the mean 103.939, 116.779, 123.68 subtracted", (103.939, 116.779, 123.68), 1),
    ("127.5 subtracted and 0.0078125 as factor", (127.5,), 0.0078125),
    ("127.5 subtracted and 1/127.5 as factor", (127.5,), 1 / 127.5),
    ("the mean 103.94, 116.78, 123.68 subtracted and 0.017 as factor", (103.94, 116.78, 123.68), 0.017),
    ("the factor 1/255", (0,), 1 / 255),
)

Edit = Callable[[Cut], None]


@dataclass(frozen=True, slots=True)
class Variation:
    """A change.

    Attributes
    ----------
    cause : str
        "eps", "factor", "pooling", "divisor", "bgr", "mean", "missing" or "order".
    text : str
        As in: B is what A computes with …
    edit : callable
        Changes a cut.
    written_over : bool
        Whether it leaves out nothing but layers that write over the blob in place, at its end.
    """

    cause: str
    text: str
    edit: Edit
    written_over: bool = False


def variations(cut: Cut, expected: np.ndarray, eps: Sequence[float] = ()) -> Iterator[Variation]:
    """Yield the changes that a cut allows, each by itself.

    Parameters
    ----------
    cut : Cut
    expected : ndarray
        What the output is on the other side.
    eps : sequence of float, optional
        Values of eps to be tried before the usual ones.
    """
    for i, layer in enumerate(cut.layers):
        yield from _eps(i, layer, (*eps, *_EPS_VALUES))
        yield from _factor(i, layer, cut, expected)
        yield from _pooling(i, layer)
    for name, values in cut.inputs.items():
        if name in cut.net_inputs and values.ndim == 4:
            yield from _prepared(name, values, cut.net_inputs[name])
    yield from _orders(cut)
    yield from _left_out(cut)


def eps_of(layer: CutLayer) -> float | None:
    """Return the eps of a layer; None where its type has none."""
    field = _EPS.get(layer.param.type)
    return None if field is None else float(getattr(layer.param, field).eps)


def _eps(i: int, layer: CutLayer, values: Sequence[float]) -> Iterator[Variation]:
    own = eps_of(layer)
    for value in dict.fromkeys(np.float32(value) for value in values) if own is not None else ():
        if value != np.float32(own):
            text = f"eps {value:g} in {quoted(layer.node.name)}, in place of {own:g}"
            yield Variation("eps", text, partial(_set_eps, i, float(value)))


def _set_eps(i: int, value: float, cut: Cut) -> None:
    param = cut.layers[i].param
    getattr(param, _EPS[param.type]).eps = value


def _factor(i: int, layer: CutLayer, cut: Cut, expected: np.ndarray) -> Iterator[Variation]:
    """BatchNorm's third blob: what sums of means and variances are to be divided by."""
    if layer.param.type != "BatchNorm" or len(layer.blobs) != 3 or layer.blobs[2].size != 1:
        return
    factor = float(layer.blobs[2].item())
    name = quoted(layer.node.name)
    if factor not in (0, 1):
        text = f"the statistics of {name} not divided by the factor blob, {factor:.6g}"
        yield Variation("factor", text, partial(_set_factor, i, 1.0))
    x = cut.inputs.get(layer.param.bottom[0])
    if x is not None and cut.output == layer.param.top[0] and x.shape == expected.shape:
        lost = _lost_factor(layer, x, expected)
        if np.isfinite(lost) and lost > 0:
            text = f"the statistics of {name} divided by a factor, {lost:.6g}, which its third blob has not"
            yield Variation("factor", text, partial(_set_factor, i, lost * (factor or 1)))


def _lost_factor(layer: CutLayer, x: np.ndarray, y: np.ndarray) -> float:
    """Return by how much stored variances are too large: ``y`` has the slope 1 / sqrt(variance + eps) over ``x``."""
    x, y = (np.moveaxis(array, 1, 0).reshape(x.shape[1], -1).astype(np.float64) for array in (x, y))
    x = x - x.mean(1)[:, None]
    with np.errstate(all="ignore"):
        slopes = (x * y).sum(1) / np.square(x).sum(1)
        variances = 1 / np.square(slopes) - (eps_of(layer) or 0)
        ratios = layer.blobs[1].reshape(-1) / (layer.blobs[2].item() or 1) / variances
    return float(np.median(ratios))


def _set_factor(i: int, value: float, cut: Cut) -> None:
    cut.layers[i].blobs[2][...] = value


def _pooling(i: int, layer: CutLayer) -> Iterator[Variation]:
    """The other rounding, the other divisor, both."""
    old = layer.node.layer
    if not isinstance(old, Pooling) or old.settings.global_pooling:
        return
    name, other = quoted(layer.node.name), _flipped(layer)
    rounds_down = other.pooling_param.round_mode == other.pooling_param.FLOOR
    rounding = f"{name} rounding {'down' if rounds_down else 'up'}"
    counts_padding = old.windows(layer.node.bottoms[0].shape).counts_padding
    divisor = f"the averages of {name} over {'the map alone' if counts_padding else 'padding too'}"
    yield Variation("pooling", rounding, partial(_set_pooling, i, True, False))
    if old.averages:
        yield Variation("divisor", divisor, partial(_set_pooling, i, False, True))
        yield Variation("pooling", f"{rounding}, and {divisor}", partial(_set_pooling, i, True, True))


def _flipped(layer: CutLayer) -> LayerParameter:
    param = LayerParameter()
    param.CopyFrom(layer.param)
    p = param.pooling_param
    up = p.ceil_mode if p.HasField("ceil_mode") else p.round_mode == p.CEIL
    p.ClearField("ceil_mode")
    p.round_mode = p.FLOOR if up else p.CEIL
    return param


def _set_pooling(i: int, rounding: bool, divisor: bool, cut: Cut) -> None:
    layer = cut.layers[i]
    if rounding:
        layer.param.CopyFrom(_flipped(layer))
    if divisor:
        p = layer.param.pooling_param
        p.avg_include_pad = not p.avg_include_pad


def _prepared(name: str, values: np.ndarray, blob: str) -> Iterator[Variation]:
    channels = values.shape[1]
    if channels == 3:
        text = f"the channels of {quoted(blob)} in reverse order (BGR, RGB)"
        yield Variation("bgr", text, partial(_set_input, name, values[:, ::-1]))
    for what, mean, factor in _PREPARED:
        if len(mean) in (1, channels):
            shift = np.array(mean, np.float32).reshape(-1, 1, 1)
            text = f"{what} from {quoted(blob)}" if what.endswith("subtracted") else f"{what}, of {quoted(blob)}"
            yield Variation("mean", text, partial(_set_input, name, (values - shift) * np.float32(factor)))


def _set_input(name: str, values: np.ndarray, cut: Cut) -> None:
    cut.inputs[name] = values


def _orders(cut: Cut) -> Iterator[Variation]:
    """Two layers behind each other, the other way round."""
    for i, layer in enumerate(cut.layers):
        readers = [j for j, other in enumerate(cut.layers) if layer.param.top[0] in other.param.bottom]
        if len(readers) == 1 and _keeps_shape(layer) and _keeps_shape(cut.layers[readers[0]]):
            after = cut.layers[readers[0]]
            text = f"{_named(after)} before {_named(layer)}"
            yield Variation("order", text, partial(_swap, i, readers[0]))


def _swap(i: int, j: int, cut: Cut) -> None:
    one, other = cut.layers[i], cut.layers[j]
    for field in ("bottom", "top"):
        a, b = list(getattr(one.param, field)), list(getattr(other.param, field))
        getattr(one.param, field)[:], getattr(other.param, field)[:] = b, a
    cut.layers[i], cut.layers[j] = other, one


def _left_out(cut: Cut) -> Iterator[Variation]:
    """Without one layer, or without the last ones, which write over the blob in place."""
    for i, layer in enumerate(cut.layers):
        if _keeps_shape(layer):
            yield Variation("missing", f"{_named(layer)} left out", partial(_leave_out, [i]), _is_last(i, cut))
    last = len(cut.layers) - 2
    while last > 0 and _is_last(last, cut) and _keeps_shape(cut.layers[last]):
        out = list(range(last, len(cut.layers)))
        names = " and ".join(_named(cut.layers[i]) for i in out)
        yield Variation("missing", f"{names} left out", partial(_leave_out, out), True)
        last -= 1


def _leave_out(out: Sequence[int], cut: Cut) -> None:
    for i in reversed(out):
        param = cut.layers.pop(i).param
        if cut.output == param.top[0]:
            cut.output = param.bottom[0]
        for other in cut.layers:
            other.param.bottom[:] = [param.bottom[0] if n == param.top[0] else n for n in other.param.bottom]


def _is_last(i: int, cut: Cut) -> bool:
    """Whether a layer and all behind it write over one blob in place."""
    return all(
        len(layer.node.tops) == 1 and layer.node.bottoms[0].name == layer.node.tops[0].name for layer in cut.layers[i:]
    )


def _keeps_shape(layer: CutLayer) -> bool:
    node = layer.node
    return len(node.bottoms) == len(node.tops) == 1 and node.bottoms[0].shape == node.tops[0].shape


def _named(layer: CutLayer) -> str:
    return f"{quoted(layer.node.name)} ({layer.param.type})"
