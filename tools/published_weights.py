"""Published weights: each file is read into its net, and what the net computes is held against what is known of it.

FOLDER holds checkouts of the repositories in ``published.MODELS`` as ``OWNER/NAME``, ``OWNER+NAME`` or ``NAME``. Nets
with a test set are tested on all of it (``--data``, the original files); the others, on random input, against their
ONNX twin in ONNX Runtime or against OpenCV's reader of Caffe's files, or where that does not read a net, against
PyTorch in float64 (``pip install .[bench]``).
Every other weights file under FOLDER is read, and what cannot be read is told.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from published import MNIST, MODELS, Model, find
from published_nets import DIFFERENT, against_kept, against_opencv, against_torch, feed, without_softmax

from caffelite.datasets import cifar10, mnist
from caffelite.errors import Error
from caffelite.net import Net
from caffelite.schema.text import net_from_text, read_text
from caffelite.schema.weights import read_weights
from caffelite.words import TEST, text_of


def run(model: Model, folder: Path, data: Path | None) -> dict[str, Any]:
    """Return a row of the table."""
    row: dict[str, Any] = {"name": model.name, "repository": model.repository, "weights": model.weights}
    row |= {"published": model.published, "result": "", "trouble": ""}
    weights, prototxt = find(folder, model.repository, model.weights), find(folder, *model.prototxt)
    if weights is None or prototxt is None:
        row["trouble"] = f"{model.weights if weights is None else model.net} is not there"
        return row
    try:
        _run(model, weights, prototxt, folder, data, row)
    except Error as error:
        row["trouble"] = str(error)
    except Exception as error:  # a defect, to be seen in the table
        row["trouble"] = f"DEFECT {type(error).__name__}: {error}"
    return row


def _run(model: Model, weights: Path, prototxt: Path, folder: Path, data: Path | None, row: dict[str, Any]) -> None:
    tested = bool(model.data)
    net = Net(bare(prototxt) if tested else prototxt, TEST, keep=not tested, learn=False)
    names = {theirs: mine for mine, theirs in model.names}
    layers = read_weights(weights)
    for layer in layers:
        layer.name = names.get(layer.name, layer.name)
    transfer = net.copy_from(layers)
    row["parameters"], row["taken"] = net.data.size, len(transfer.taken)
    left = [line[0] for line in transfer.rows if line[1] == "in the net only"]
    if left:
        raise Error(f"layers without weights in the file: {', '.join(left)}")
    row["input"] = ", ".join(text_of(net.blobs[name].shape) for name in net.inputs)
    if tested:
        if data is not None:
            row["result"] = f"{100 * accuracy(net, model.data, data):.2f}%"
        return
    feed(net, {}, 2)
    net.forward()
    if not all(np.isfinite(net.blobs[name].data).all() for name in net.outputs):
        raise Error("an output is not finite")
    fused = Net(without_softmax(prototxt), TEST, learn=False)
    fused.copy_from(layers)
    feed(fused, {}, 2)
    fused.forward()
    apart = against_kept(net, fused)
    if apart > DIFFERENT:
        raise Error(f"where layers run as one, the output differs by {apart:.1e}")
    if model.onnx:
        twin = find(folder, model.repository, model.onnx)
        row["result"] = "" if twin is None else _compared("ONNX Runtime", lambda: against_onnx(twin, net))
        return
    row["result"] = _compared("OpenCV", lambda: against_opencv(prototxt, net, weights))
    if "does not read it" in row["result"]:
        row["result"] = _compared("PyTorch", lambda: _against_torch(prototxt, layers))


def _compared(other: str, compare: Any) -> str:
    try:
        return f"{compare():.1e} from {other}"
    except ImportError:
        return f"{other} is not installed"
    except Error:
        raise
    except Exception as error:
        return f"{other} does not read it ({type(error).__name__})"


def _against_torch(prototxt: Path, layers: Any) -> float:
    net = Net(prototxt, TEST, keep=True, learn=False, dtype=np.float64)
    net.copy_from(layers)
    feed(net, {}, 2)
    net.forward()
    return against_torch(net)


def bare(prototxt: Path) -> Any:
    """Return a net with an Input in place of its data, and without losses and measures."""
    document = net_from_text(read_text(prototxt), str(prototxt))
    kept = [layer for layer in document.message.layer if layer.type not in ("Data", "Accuracy", "SoftmaxWithLoss")]
    if not any(layer.type == "Input" for layer in kept):
        kept.insert(0, type(document.message.layer[0])(name="data", type="Input", top=["data"]))
        kept[0].input_param.shape.add().dim.extend((100, 3, 32, 32))
    kept = [type(layer).FromString(layer.SerializeToString()) for layer in kept]
    del document.message.layer[:]
    document.message.layer.extend(kept)
    return document


def accuracy(net: Net, name: str, data: Path) -> float:
    """Return the share of test images that the net gets right."""
    with tempfile.TemporaryDirectory() as scratch:
        found = (mnist if name == MNIST else cifar10).find(data, Path(scratch))
        if found is None:
            raise Error(f"{data} has no files of {name}")
        test = [(pixels.astype(np.float32), labels) for pixels, labels in found.test()]
        if name == MNIST:
            test = [(pixels / 256, labels) for pixels, labels in test]
        else:
            sums = [(pixels.sum(0, dtype=np.int64), len(pixels)) for pixels, _ in found.train()]
            mean = sum(one for one, _ in sums) / sum(n for _, n in sums)
            test = [((pixels - mean).astype(np.float32), labels) for pixels, labels in test]
    images, wanted = (np.concatenate(part) for part in zip(*test, strict=True))
    blob, scores = net.blobs[net.inputs[0]], net.blobs[net.outputs[0]]
    right = 0
    for start in range(0, len(images), len(blob.data)):
        part = images[start : start + len(blob.data)]
        blob.data[: len(part)] = part.reshape(len(part), *blob.shape[1:])
        net.forward()
        right += int(
            (scores.data.reshape(len(blob.data), -1).argmax(1)[: len(part)] == wanted[start:][: len(part)]).sum()
        )
    return right / len(images)


def against_onnx(twin: Path, net: Net) -> float:
    """Return the largest difference to what ONNX Runtime computes, over the largest value of the output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(twin), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    theirs = session.run(names, {session.get_inputs()[0].name: net.blobs[net.inputs[0]].data})
    mine = [net.blobs[name].data for name in names]
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in zip(mine, theirs, strict=True))


def others(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield what is in the other weights files."""
    used = {find(folder, model.repository, model.weights) for model in MODELS}
    for file in sorted(folder.rglob("*")):
        if not file.name.endswith((".caffemodel", ".caffemodel.h5")) or file in used:
            continue
        row: dict[str, Any] = {"weights": str(file.relative_to(folder)), "trouble": ""}
        try:
            layers = read_weights(file)
            row["layers"] = sum(bool(layer.blobs) for layer in layers)
            row["parameters"] = sum(blob.size for layer in layers for blob in layer.blobs)
        except Error as error:
            row["trouble"] = str(error)
        yield row


def table(rows: list[dict[str, Any]], rest: list[dict[str, Any]]) -> Iterator[str]:
    yield "| model | from | parameters | input | published | here | |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        parameters = f"{row['parameters']:,}" if "parameters" in row else ""
        cells = [row["name"], row["repository"], parameters, row.get("input", ""), row["published"], row["result"]]
        yield "| " + " | ".join([*cells, row["trouble"]]) + " |"
    yield f"\nOther weights files: {len(rest)}, read {sum(not row['trouble'] for row in rest)}"
    yield from (f"- {row['weights']}: {row['trouble']}" for row in rest if row["trouble"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=os.environ.get("CAFFELITE_DATA"), help="folder of the data sets")
    parser.add_argument("--only", action="append", default=[], help="only the models whose name contains this")
    parser.add_argument("--json", action="store_true", help="rows with all there is to tell instead of the table")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = [m for m in MODELS if not options.only or any(part.lower() in m.name.lower() for part in options.only)]
    rows = [run(model, options.folder, options.data and Path(options.data)) for model in chosen]
    rest = [] if options.only else list(others(options.folder))
    if options.json:
        json.dump({"models": rows, "others": rest}, sys.stdout, indent=1)
    else:
        print("\n".join(table(rows, rest)))
    sys.exit(any(row["trouble"] for row in [*rows, *rest]))


if __name__ == "__main__":
    main()
