"""Which pixel of one blob belongs to which of another, for nets of ``NetSpec``: what a Crop layer needs to know.

A map from a layer's input to its output is ``(axis, scale, shift)``: coordinate ``x`` of the input is
``scale·x + shift`` of the output, on each axis behind ``axis``, which is None for layers that leave coordinates as they
are. Scale and shift are numbers, or arrays with a value an axis.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from caffelite.pycaffe.net_spec import Function, Top, layers

#: Layers that compute each pixel from the pixel at the same place.
PASS_THROUGH_LAYERS = [
    "AbsVal",
    "BatchNorm",
    "Bias",
    "BNLL",
    "Dropout",
    "Eltwise",
    "ELU",
    "Log",
    "LRN",
    "Exp",
    "MVN",
    "Power",
    "ReLU",
    "PReLU",
    "Scale",
    "Sigmoid",
    "Split",
    "TanH",
    "Threshold",
]
_ONE_AXIS = ("pad_h", "pad_w", "kernel_h", "kernel_w", "stride_h", "stride_w")

CoordinateMap = tuple[int | None, Any, Any]
_IDENTITY: CoordinateMap = (None, 1, 0)


class UndefinedMapException(Exception):
    """A layer's output has no coordinates that belong to those of its input."""


class AxisMismatchException(Exception):
    """Two maps are of different axes."""


def conv_params(fn: Function) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """Return axis, stride, size of the (dilated) kernel and padding of a layer that slides a window.

    Raises
    ------
    AssertionError
        It has settings for a single axis (``kernel_h`` …), which say too little of the axes.
    """
    # Pooling's settings are in its own message, under the same names.
    settings = next(
        (fn.params[name] for name in ("convolution_param", "pooling_param") if name in fn.params), fn.params
    )
    single = [name for name in _ONE_AXIS if name in settings]
    assert not single, f"{fn.type_name} with {single[0]} cannot be mapped; give both axes in one list"
    if "kernel_size" not in settings:
        raise UndefinedMapException(f"{fn.type_name} has no kernel_size")
    kernel, dilation, stride, pad = (
        np.array(settings.get(name, default), ndmin=1)
        for name, default in (("kernel_size", 1), ("dilation", 1), ("stride", 1), ("pad", 0))
    )
    return settings.get("axis", 1), stride, (kernel - 1) * dilation + 1, pad


def crop_params(fn: Function) -> tuple[int, np.ndarray]:
    """Return the first axis that a Crop layer cuts, and the offset on each."""
    settings = fn.params.get("crop_param", fn.params)
    return settings.get("axis", 2), np.array(settings.get("offset", 0), ndmin=1)


def coord_map(fn: Function) -> CoordinateMap:
    """Return the map from a layer's input to its output.

    Raises
    ------
    UndefinedMapException
        The layer has none, as InnerProduct.
    """
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, kernel, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (kernel - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, kernel, pad = conv_params(fn)
        return axis, stride, (kernel - 1) / 2 - pad
    if fn.type_name in PASS_THROUGH_LAYERS:
        return _IDENTITY
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        # Like those of a convolution, whose axis is the one before the first coordinate.
        return axis - 1, 1, -offset
    raise UndefinedMapException(f"coordinates do not go through {fn.type_name}")


def compose(base_map: CoordinateMap, next_map: CoordinateMap) -> CoordinateMap:
    """Return the map that goes through ``next_map`` first, then through ``base_map``.

    Raises
    ------
    AxisMismatchException
        They are of different axes.
    """
    base_axis, base_scale, base_shift = base_map
    next_axis, next_scale, next_shift = next_map
    axes = {axis for axis in (base_axis, next_axis) if axis is not None}
    if len(axes) > 1:
        raise AxisMismatchException(f"one map is of axis {base_axis}, the other of axis {next_axis}")
    return axes.pop() if axes else None, base_scale * next_scale, base_scale * next_shift + base_shift


def inverse(coord_map: CoordinateMap) -> CoordinateMap:
    """Return the map from output to input."""
    axis, scale, shift = coord_map
    return axis, 1 / scale, -shift / scale


def coord_map_from_to(top_from: Top, top_to: Top) -> CoordinateMap:
    """Return the map from one blob to another, through the nearest blob that both are computed from.

    Raises
    ------
    RuntimeError
        There is no such blob, or not by layers that coordinates go through.
    """
    from_maps = _maps_back(top_from, lambda _: False)
    to_maps = _maps_back(top_to, from_maps.__contains__)
    common = next((top for top in to_maps if top in from_maps), None)
    if common is None:
        raise RuntimeError("no map between the two tops: are they connected by layers that coordinates go through?")
    return compose(to_maps[common], inverse(from_maps[common]))


def _maps_back(top: Top, is_goal: Callable[[Top], bool]) -> dict[Top, CoordinateMap]:
    """Return the map to ``top`` from each blob that it is computed from; end at one that ``is_goal``."""
    maps = {top: _IDENTITY}
    frontier = [top]
    for top in frontier:
        if is_goal(top):
            return {top: maps[top]}
        try:
            step = coord_map(top.fn)
        except UndefinedMapException:
            continue
        # The second bottom of a Crop only says how large its top is.
        for bottom in top.fn.inputs[:1] if top.fn.type_name == "Crop" else top.fn.inputs:
            if bottom not in maps:
                maps[bottom] = compose(maps[top], step)
                frontier.append(bottom)
    return maps


def crop(top_from: Top, top_to: Top) -> Top:
    """Return a Crop layer that cuts ``top_from`` to what belongs to ``top_to``.

    Raises
    ------
    AssertionError
        The two are not of one scale, or the offset is negative or no whole number.
    RuntimeError
        No map between the two is known.
    """
    axis, scale, shift = coord_map_from_to(top_from, top_to)
    shift = np.array(shift, ndmin=1)
    assert np.all(np.asarray(scale) == 1), f"scale mismatch on crop (scale = {scale})"
    assert np.all(shift <= 0), f"cannot crop with a negative offset ({-shift})"
    assert np.all(np.round(shift) == shift), f"cannot crop with an offset that is no whole number ({-shift})"
    if axis is None:
        axis = 1
    return layers.Crop(top_from, top_to, crop_param={"axis": axis + 1, "offset": [int(n) for n in -shift]})
