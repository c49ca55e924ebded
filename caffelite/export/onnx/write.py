"""An ONNX file that is written only if it computes what the net computes."""

from pathlib import Path

from caffelite.export.difference import Difference
from caffelite.export.onnx.check import compare_file, refuse_mistakes
from caffelite.export.onnx.convert import Converted
from caffelite.export.onnx.files import save, whole
from caffelite.net import Net


def write(net: Net, converted: Converted, path: Path) -> list[Difference]:
    """Write a model, with weights that are too large for one file beside it.

    Parameters
    ----------
    net : Net
        As for :func:`caffelite.export.onnx.check.compare`.
    converted : Converted
        Its model may have lost its weights afterwards.
    path : Path

    Returns
    -------
    list of Difference
        How far each blob is apart at most.

    Raises
    ------
    NetError
        A blob differs: the first one is named; or the model is not taken. Nothing is written then.
    OSError
        It cannot be written.
    """
    with whole(path) as made:
        save(converted.model, made)
        differences = compare_file(net, converted, made)
        refuse_mistakes(differences, path)
    return differences
