"""Fillers: how a parameter blob starts."""

import math

import numpy as np

from caffelite.errors import NetError
from caffelite.schema.messages import FillerParameter
from caffelite.words import did_you_mean

TYPES = ("constant", "uniform", "gaussian", "xavier", "msra", "positive_unitball", "bilinear")
_FAN_IN, _FAN_OUT = 0, 1


def fill(array: np.ndarray, filler: FillerParameter | None, rng: np.random.Generator, where: str) -> None:
    """Fill an array as a FillerParameter says.

    Parameters
    ----------
    array : ndarray of float32
    filler : FillerParameter or None
        None: zeros.
    rng : numpy.random.Generator
    where : str
        For errors: place and layer.

    Raises
    ------
    NetError
        An unknown type, one that does not fit the shape, or settings that cannot be.

    Notes
    -----
    With n the fan-in (``count / shape[0]``), the fan-out (``count / shape[1]``) or their mean, as ``variance_norm``
    says: xavier is uniform in ±sqrt(3 / n) (Glorot and Bengio, 2010), msra is gaussian with variance 2 / n (He et al.,
    2015). ``sparse`` keeps about that many inputs of each output. positive_unitball makes each row positive with sum
    1; bilinear makes filters that interpolate.
    """
    if filler is None:
        array.fill(0)
        return
    _check(filler, where)
    kind = filler.type
    if kind == "constant":
        array.fill(filler.value)
    elif kind == "uniform":
        array[...] = rng.uniform(filler.min, filler.max, array.shape)
    elif kind == "gaussian":
        array[...] = rng.normal(filler.mean, filler.std, array.shape)
        if filler.sparse >= 0:
            outputs = array.shape[0] if array.shape else 1
            array *= rng.random(array.shape) < min(filler.sparse / outputs, 1.0)
    elif kind == "xavier":
        limit = math.sqrt(3.0 / _fan(array, filler))
        array[...] = rng.uniform(-limit, limit, array.shape)
    elif kind == "msra":
        array[...] = rng.normal(0, math.sqrt(2.0 / _fan(array, filler)), array.shape)
    elif kind == "positive_unitball":
        rows = array.shape[0] if array.shape else 1
        values = rng.random((rows, array.size // rows))
        array[...] = (values / values.sum(axis=1, keepdims=True)).reshape(array.shape)
    elif kind == "bilinear":
        _bilinear(array, where)
    else:
        hint = did_you_mean(kind, TYPES, f"it can be {', '.join(TYPES)}")
        raise NetError(f'{where}: there is no filler type "{kind}"{hint}')


def _check(filler: FillerParameter, where: str) -> None:
    if filler.sparse != -1 and filler.type in TYPES and filler.type != "gaussian":
        raise NetError(f'{where}: sparse goes with a gaussian filler, not with "{filler.type}"')
    if filler.sparse < -1:
        raise NetError(f"{where}: sparse is {filler.sparse}, expected -1 (off) or more")
    if filler.type == "uniform" and not (filler.min <= filler.max and math.isfinite(filler.max - filler.min)):
        raise NetError(f"{where}: min is {filler.min:g} and max is {filler.max:g}, expected finite, min first")
    if filler.type == "gaussian" and not (filler.std >= 0 and math.isfinite(filler.std)):
        raise NetError(f"{where}: std is {filler.std:g}, expected 0 or more")


def _fan(array: np.ndarray, filler: FillerParameter) -> float:
    shape = array.shape
    fan_in = array.size / shape[0] if shape else 1
    # Caffe's shape(1) of a vector is an error there; its fan-out is taken as its size.
    fan_out = array.size / shape[1] if len(shape) > 1 else array.size
    if filler.variance_norm == _FAN_IN:
        return fan_in
    return fan_out if filler.variance_norm == _FAN_OUT else (fan_in + fan_out) / 2


def _bilinear(array: np.ndarray, where: str) -> None:
    if array.ndim != 4 or array.shape[2] != array.shape[3]:
        raise NetError(
            f"{where}: a bilinear filler takes square filters (4 axes), not {'×'.join(map(str, array.shape))}"
        )
    size = array.shape[3]
    factor = math.ceil(size / 2)
    centre = (2 * factor - 1 - factor % 2) / (2.0 * factor)
    ramp = 1 - np.abs(np.arange(size) / factor - centre)
    array[...] = ramp[:, None] * ramp[None, :]
