"""Nets from Caffe's files, or from their bytes."""

from pathlib import Path
from typing import Any

import numpy as np

from caffelite.dnn.net import Net
from caffelite.dnn.planned import Planned
from caffelite.errors import DataError, SchemaError
from caffelite.schema.documents import NetDocument
from caffelite.schema.text import net_from_text, read_net
from caffelite.schema.weights import LayerWeights, read_weights, weights_from_bytes
from caffelite.words import quoted


def readNetFromCaffe(prototxt: Any, caffeModel: Any = "") -> Net:
    """Read a net.

    Parameters
    ----------
    prototxt : path, or bytes, bytearray, memoryview or ndarray of uint8
        The net: a file, or what is in one.
    caffeModel : the same, optional
        Its weights. Without them every layer that has parameters needs some, by ``setParam``, before ``forward``.

    Returns
    -------
    Net

    Raises
    ------
    SchemaError
        The prototxt cannot be read; names line and column.
    NetError
        Its layers do not fit together, or it has no input.
    WeightsError
        The weights cannot be read.
    """
    return Net(Planned(_document(prototxt), _weights(caffeModel)))


def readNet(model: Any, config: Any = "", framework: Any = "") -> Net:
    """Read a net: from paths in either order, or ``readNet("caffe", weights, prototxt)`` from bytes.

    Parameters
    ----------
    model, config : path
        One of them ends in ``.caffemodel`` or ``.prototxt``, or ``framework`` says whose they are.
    framework : str, optional
        "caffe".

    Raises
    ------
    SchemaError
        The files are another program's, or what :func:`readNetFromCaffe` raises.
    """
    if isinstance(model, str) and _is_buffer(config):
        framework, model, config = model, config, framework
    elif {".prototxt", ".caffemodel"} & {Path(model).suffix, Path(config).suffix}:
        framework = framework or "caffe"
        if Path(model).suffix == ".prototxt" or Path(config).suffix == ".caffemodel":
            model, config = config, model
    if str(framework).lower() != "caffe":
        whose = f"files of {quoted(str(framework))}" if framework else f"{model}"
        raise SchemaError(f"{whose}: caffelite.dnn reads Caffe's nets, a .prototxt and a .caffemodel")
    return readNetFromCaffe(config, model)


def _document(prototxt: Any) -> NetDocument:
    if not _is_buffer(prototxt):
        return read_net(prototxt)
    try:
        return net_from_text(bytes(prototxt).decode(), "prototxt")
    except UnicodeDecodeError as error:
        raise SchemaError(
            f"prototxt: byte {error.start} of the buffer is not UTF-8; it is the first argument, the weights the second"
        ) from None


def _weights(model: Any) -> list[LayerWeights]:
    if not _is_buffer(model):
        return read_weights(model) if str(model) else []
    # A copy: the buffer is its owner's.
    return weights_from_bytes(memoryview(bytes(model)), "caffemodel") if len(model) else []


def _is_buffer(source: Any) -> bool:
    if isinstance(source, np.ndarray) and source.dtype != np.uint8:
        raise DataError(f"a file's bytes are an array of uint8, not of {source.dtype}")
    return isinstance(source, bytes | bytearray | memoryview | np.ndarray)


__all__ = ["readNet", "readNetFromCaffe"]
