"""A prototxt out of the net that a ``.caffemodel`` holds."""

from collections.abc import Sequence
from pathlib import Path

from caffelite.errors import WeightsError
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import LayerParameter, NetParameter
from caffelite.schema.text import net_from_message
from caffelite.words import TRAIN


def plain_net(message: NetParameter, path: Path) -> tuple[NetDocument, list[str]]:
    """Return a net as a person would write it, from what Caffe saved of it.

    Caffe saves the net as it ran: with a Split layer wherever a blob is read twice, and the phase in each layer. Both
    go; a net of V0 or V1 is upgraded.

    Parameters
    ----------
    message : NetParameter
        As it was saved, without blobs.
    path : Path
        The file that it comes from, for errors.

    Returns
    -------
    NetDocument
    list of str
        What is not in the file.

    Raises
    ------
    WeightsError
        Layers have names and nothing else.
    """
    document = net_from_message(message, str(path))
    net = document.message
    if not any(layer.type and (layer.bottom or layer.top) for layer in net.layer):
        raise WeightsError(f"{path}: it holds weights alone: its layers tell nothing but their names")
    trained = any(layer.phase == TRAIN and layer.HasField("phase") for layer in net.layer)
    try:
        kept = _without_splits(net.layer)
    except UnicodeDecodeError:
        raise WeightsError(f"{path}: the name of a blob in it is not UTF-8") from None
    for layer in kept:
        for name in ("phase", "include", "exclude"):
            layer.ClearField(name)
    del net.layer[:]
    net.layer.extend(kept)
    missing = ["settings of a solver"]
    if trained:
        missing.append("layers of the TEST phase alone, such as Accuracy: Caffe saved the net that was trained")
    return net_from_message(net, str(path)), missing


def _without_splits(layers: Sequence[LayerParameter]) -> list[LayerParameter]:
    """Return copies of the layers but the Splits that Caffe puts in, their tops called as their bottoms."""
    whole: dict[str, str] = {}
    kept = []
    for layer in layers:
        if layer.type == "Split" and all("_split_" in top for top in layer.top) and layer.name.endswith("_split"):
            whole.update(dict.fromkeys(layer.top, whole.get(layer.bottom[0], layer.bottom[0])))
            continue
        copy = LayerParameter()
        copy.CopyFrom(layer)
        copy.bottom[:] = [whole.get(name, name) for name in layer.bottom]
        kept.append(copy)
    return kept
