"""The published nets: each is read, drawn, planned and run forward on random input, in a process of its own.

FOLDER holds checkouts of the repositories in ``published.NETS`` (or only the files named there), as ``OWNER/NAME``,
``OWNER+NAME`` or ``NAME``. No weights are needed: parameters are drawn by their fillers, and where a file for
deployment has none, so that values neither vanish nor grow.

With ``--compare`` another program gets the same parameters and the same input, and the table tells by how much the two
differ, over the largest value: OpenCV's own reader of Caffe's files, in float32, and, where that does not read a net or
differs, PyTorch, in float64 (``pip install .[bench]``). The net compared keeps every blob; it counts as different too
where one does whose layers run as one.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import resource
import shutil
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from published import NETS, Published, find

from caffelite.draw.diagram import draw
from caffelite.errors import Error
from caffelite.net import Net
from caffelite.pycaffe.layer import Layer
from caffelite.schema.text import net_from_text, read_text
from caffelite.words import TEST, text_of

#: Above this another program computes something else.
DIFFERENT = 1e-3


def enliven(net: Net, seed: int) -> None:
    """Give values to parameters that no filler set, so that what a forward computes says something.

    Weights that are all 0 are drawn with the variance of He et al. (2015); stored variances become 1.
    """
    rng = np.random.default_rng(seed)
    for layer in net.layers:
        if layer.type == "BatchNorm" or (layer.type == "BN" and len(layer.blobs) == 4):
            layer.blobs[-1 if layer.type == "BatchNorm" else 3].data[...] = 1
            if layer.type == "BatchNorm":
                layer.blobs[1].data[...] = 1
            continue
        for blob in layer.blobs:
            shape = [n for n in blob.shape if n > 1]
            if len(shape) > 1 and not blob.data.any():
                fan_in = blob.data[0].size if layer.type != "Embed" else 1
                blob.data[...] = rng.standard_normal(blob.shape, np.float32) * np.float32((2 / fan_in) ** 0.5)


class SpatialDropout(Layer):
    """What ENet's published prototxt takes from a Python module of its own: when tested it passes values on."""

    def setup(self, bottom: Any, top: Any) -> None:
        pass

    def reshape(self, bottom: Any, top: Any) -> None:
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom: Any, top: Any) -> None:
        top[0].data[...] = bottom[0].data

    def backward(self, top: Any, propagate_down: Any, bottom: Any) -> None:
        bottom[0].diff[...] = top[0].diff


def give_modules() -> None:
    """Let nets find the Python modules they name."""
    module = types.ModuleType("spatial_dropout")
    module.__dict__["SpatialDropoutLayer"] = SpatialDropout
    sys.modules["spatial_dropout"] = module


def feed(net: Net, words: dict[str, int], seed: int) -> None:
    """Give random values to the inputs."""
    rng = np.random.default_rng(seed)
    for name in net.inputs:
        blob = net.blobs[name]
        if name in words:
            blob.data[...] = rng.integers(words[name], size=blob.shape)
        else:
            blob.data[...] = rng.uniform(-1, 1, blob.shape)


def against_opencv(file: Path, net: Net, weights: Path | None = None) -> float:
    """Return the largest difference to what OpenCV computes, over the largest value of the blob.

    Compared are the outputs and what goes into a softmax. ``net`` keeps its blobs and has run.
    """
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        if weights is None:
            weights = Path(folder) / "net.caffemodel"
            net.save(weights)
        other = cv2.dnn.readNetFromCaffe(str(file), str(weights))
    for name in net.inputs:
        other.setInput(net.blobs[name].data.copy(), name)
    names = [*net.outputs, *(layer.param.bottom[0] for layer in net.layers if layer.type == "Softmax")]
    writers = {top: layer.name for layer in net.layers for top in layer.param.top}
    worst = 0.0
    for name in dict.fromkeys(names):
        worst = max(worst, difference(net.blobs[name].data, other.forward(writers[name]), name))
    return worst


def difference(mine: np.ndarray, theirs: np.ndarray, name: str) -> float:
    """Return the largest difference of two blobs, over the largest value."""
    detected = mine.shape[:2] == (1, 1) and mine.shape[3:] == (7,)
    if detected:
        mine, theirs = _detections(mine), _detections(theirs)
    if mine.shape != theirs.shape:
        raise Error(f"{name} has shape {text_of(mine.shape)}, but {text_of(theirs.shape)} is computed too")
    far = _apart(mine, theirs) if detected else float(np.abs(mine - theirs).max())
    return far / max(float(np.abs(mine).max()), 1e-30)


def _detections(rows: np.ndarray) -> np.ndarray:
    """Return what was detected: OpenCV fills up with zeros."""
    found = rows.reshape(-1, 7)
    return found[found.any(1)]


def _apart(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Return how far a detection is from the nearest one of the other program, at most.

    Their order says nothing: OpenCV's go by score alone, and scores can differ by less than they are computed to.
    """
    apart = np.abs(mine[:, None] - theirs).max(2)
    return float(max(apart.min(0).max(), apart.min(1).max()))


def run(net: Published, file: Path, batch: int | None, compared: bool) -> dict[str, Any]:
    """Return a row of the table."""
    warnings.simplefilter("ignore")
    give_modules()
    row: dict[str, Any] = {"net": net.name, "repository": net.repository, "path": net.path, "trouble": ""}
    try:
        _run(net, file, batch, row)
        row["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        if compared:
            row["compared"] = compare(net, file, batch)
    except Error as error:
        row["trouble"] = str(error).replace(str(file), net.path)
    except Exception as error:  # a defect, to be seen in the table
        row["trouble"] = f"DEFECT {type(error).__name__}: {error}"
    return row


def compare(published: Published, file: Path, batch: int | None) -> str:
    """Return how far others are, in words."""
    import cv2

    words = []
    try:
        net, fused = _fed(published, file, batch, np.float32)
        far = max(against_opencv(file, net), fused)
        words.append(f"{far:.1e} OpenCV")
        if far < DIFFERENT:
            return words[0]
    except cv2.error:
        pass
    net, fused = _fed(published, file, batch, np.float64)
    return ", ".join([*words, f"{max(against_torch(net), fused):.1e} PyTorch"])


def against_torch(net: Net) -> float:
    """Return the largest difference to PyTorch of what a layer makes, over the largest value of the blob.

    ``net`` keeps its blobs and has run.
    """
    from caffelite.export.torch.check import layer_differences, load_module
    from caffelite.export.torch.convert import convert
    from caffelite.export.torch.layers import writes
    from caffelite.export.torch.write import save

    # In the published nets: dropout.
    writes("Python")(lambda m, node, x: x)
    made = convert(net, {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.py"
        save(made, path, {"net": net.name})
        module = load_module(path)
    found = layer_differences(net, made, module.double() if net.data.dtype == np.float64 else module)
    return max(far.value for _, far in found)


def _fed(published: Published, file: Path, batch: int | None, dtype: Any) -> tuple[Net, float]:
    """Return a net that keeps its blobs and has run, and how far one is from it whose layers run as one."""
    nets = []
    for source, keep in ((file, True), (without_softmax(file), False)):
        net = _plan(source, batch, keep, dtype)
        feed(net, published.words, 2)
        net.forward()
        nets.append(net)
    return nets[0], against_kept(*nets)


def without_softmax(file: Path) -> Any:
    """Return a net whose outputs are what goes into a softmax: with random values that is near 0 or 1 everywhere."""
    document = net_from_text(read_text(file), str(file))
    layers = document.message.layer
    read = {bottom for layer in layers for bottom in layer.bottom}
    for i in reversed(range(len(layers))):
        if layers[i].type == "Softmax" and not read & set(layers[i].top):
            del layers[i]
    return document


def against_kept(kept: Net, fused: Net) -> float:
    """Return the largest difference of the outputs of ``fused``, over the largest value of each."""
    return max(difference(kept.blobs[name].data, fused.blobs[name].data, name) for name in fused.outputs)


def _plan(file: Any, batch: int | None, keep: bool, dtype: Any = np.float32) -> Net:
    net = Net(file, TEST, keep=keep, learn=False, allow_python=True, dtype=dtype)
    if batch is not None:
        for layer in net.layers:
            if layer.type == "Input":
                layer.top_shapes = [(batch, *shape[1:]) for shape in layer.top_shapes]
        net.reshape()
    enliven(net, 1)
    return net


def _run(published: Published, file: Path, batch: int | None, row: dict[str, Any]) -> None:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for ending in ("dot", "md", *(("svg", "png") if shutil.which("dot") else ())):
            row["drawn"] = draw(file, Path(folder) / f"net.{ending}")
            if not (Path(folder) / f"net.{ending}").stat().st_size:
                raise Error(f"nothing is in the {ending} drawn")
    row["drawing"] = time.perf_counter() - start
    start = time.perf_counter()
    net = _plan(file, batch, keep=False)
    row["planning"] = time.perf_counter() - start
    row["layers"], row["parameters"] = len(net.layers), net.data.size
    feed(net, published.words, 2)
    start = time.perf_counter()
    net.forward()
    row["first"] = time.perf_counter() - start
    start = time.perf_counter()
    net.forward()
    row["seconds"] = time.perf_counter() - start
    row["slowest"] = [
        (one.type, round(one.forward, 3)) for one in sorted(net.profile(1, False), key=lambda one: -one.forward)[:3]
    ]
    row["input"] = ", ".join(text_of(net.blobs[name].shape) for name in net.inputs)
    outputs = [net.blobs[name] for name in net.outputs]
    row["output"] = ", ".join(text_of(blob.shape) for blob in outputs)
    for blob in outputs:
        if not np.isfinite(blob.data).all():
            raise Error(f"{blob.name} is not finite")
        if blob.data.size > 1 and np.ptp(blob.data) == 0:
            raise Error(f"{blob.name} is {blob.data.flat[0]} everywhere")
    size = net.blobs[net.inputs[0]].shape[0] if net.inputs else 0
    wanted = tuple(size if n == 0 else n for n in published.output)
    found = outputs[0].shape
    if len(found) != len(wanted) or any(n not in (-1, m) for n, m in zip(wanted, found, strict=True)):
        raise Error(f"{outputs[0].name} has shape {text_of(found)}, expected {text_of(wanted)}")


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| net | from | layers | parameters | input | output | s a forward | peak MiB | difference | |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        cells = [row["net"], row["repository"], str(row.get("layers", ""))]
        cells.append(f"{row['parameters']:,}" if "parameters" in row else "")
        cells += [row.get("input", ""), row.get("output", "")]
        cells.append(f"{row['seconds']:.3g}" if "seconds" in row else "")
        cells.append(f"{row['memory']:.0f}" if "memory" in row else "")
        cells.append(row.get("compared", ""))
        yield "| " + " | ".join([*cells, row["trouble"]]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", action="append", default=[], help="run only the nets whose name contains this")
    parser.add_argument("--batch", type=int, help="size of the batch in place of the published one")
    parser.add_argument("--compare", action="store_true", help="hold the outputs against another program's")
    parser.add_argument("--json", action="store_true", help="rows with all there is to tell instead of the table")
    options = parser.parse_args()
    rows = []
    # A fresh process for each, so that the peak of memory is that of one net.
    with concurrent.futures.ProcessPoolExecutor(
        1, mp_context=multiprocessing.get_context("spawn"), max_tasks_per_child=1
    ) as pool:
        for net in NETS:
            if options.only and not any(part.lower() in net.name.lower() for part in options.only):
                continue
            file = find(options.folder, net.repository, net.path)
            if file is None:
                rows.append({"net": net.name, "repository": net.repository, "trouble": f"{net.path} is not there"})
                continue
            rows.append(pool.submit(run, net, file, options.batch, options.compare).result())
            print(f"{net.name}: {rows[-1]['trouble'] or 'runs'}", file=sys.stderr, flush=True)
    if options.json:
        json.dump(rows, sys.stdout, indent=1)
    else:
        print("\n".join(table(rows)))
    sys.exit(any(row["trouble"] for row in rows))


if __name__ == "__main__":
    main()
