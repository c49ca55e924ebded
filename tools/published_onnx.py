"""The published nets as ONNX files: each converted, and held against caffelite in ONNX Runtime.

FOLDERS hold checkouts of the repositories in ``published.NETS``, which get random weights, and of those in
``published.MODELS``, which have weights of their own, as for ``published_nets.py``. The table tells how many
operators the file has, how many ``onnxsim`` leaves, which takes away what does nothing and what is made of constants
alone, and how far a blob is from caffelite's at most, over its largest value. ``--onnxsim`` names the Python of an
environment that has it (it may need other versions of onnx than caffelite's). Other prototxt files, of nets that are
deployed, can be given in place of folders.
"""

import argparse
import contextlib
import multiprocessing
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from published import MODELS, NETS, find
from published_nets import enliven, give_modules

from caffelite.batchnorm.fold import fold
from caffelite.errors import Error
from caffelite.export.inputs import random_input
from caffelite.export.onnx.convert import DEFAULT_OPSET, convert
from caffelite.export.onnx.write import write
from caffelite.layers.input import Input
from caffelite.net import Net
from caffelite.net.deploy import deploy
from caffelite.schema.documents import NetDocument
from caffelite.schema.text import read_net
from caffelite.schema.weights import LayerWeights
from caffelite.words import TEST, TRAIN

#: Images that the statistics of BatchNorm are of, at least.
MEASURED = 4
COLUMNS = ("net", "operators", "onnxsim", "inputs", "difference", "blob", "seconds", "")


def random_weights(document: NetDocument) -> dict[str, list[np.ndarray]]:
    """Return weights that neither let values vanish nor grow: normalization has the statistics of random images."""
    net = Net(document, TRAIN, keep=True, learn=False, allow_python=True, global_stats=False)
    for layer in net.layers:
        if isinstance(layer, Input):
            layer.top_shapes = [(max(shape[0], MEASURED), *shape[1:]) for shape in layer.top_shapes]
    # Some take a batch of one size only.
    with contextlib.suppress(Error):
        net.reshape()
    enliven(net, 1)
    rng = np.random.default_rng(1)
    for layer in net.layers:
        if layer.type in ("Scale", "PReLU") and layer.blobs:
            for blob, mean in zip(layer.blobs, (1.0, 0.0), strict=False):
                blob.data[...] = rng.normal(mean, 0.1, blob.shape)
    net.changed()
    for version in (v for node in net.graph.nodes if node.layer.facts.net_input for v in node.tops):
        values = net.plan.blob(version).data
        values[...] = random_input(version, values.shape, rng)
    net.forward()
    return net.weights()


class Source(NamedTuple):
    """A net: its name, prototxt, weights if it has any, and what its layers are called in the weights file."""

    name: str
    file: Path
    weights: Path | None = None
    names: tuple[tuple[str, str], ...] = ()


def weighted(source: Source, document: NetDocument) -> Net:
    """Return a net that keeps its blobs, of the document, with the weights of the source, or random ones."""
    net = Net(document, TEST, keep=True, learn=False, allow_python=True)
    own = source.weights or [LayerWeights(layer, "", values) for layer, values in random_weights(document).items()]
    net.copy_from(own, layer_map={old: new for new, old in source.names})
    return net


def row(source: Source, opset: int, onnxsim: str | None) -> dict[str, Any]:
    """Convert a net and return a row of the table."""
    warnings.simplefilter("ignore")
    give_modules()
    told: dict[str, Any] = {"net": source.name, "": ""}
    try:
        document, _ = deploy(read_net(source.file), allow_python=True)
        net = weighted(source, document)
        start = time.perf_counter()
        converted = convert(fold(net, check=False).net, opset)
        told["operators"] = len(converted.model.graph.node)
        told["inputs"] = "one batch" if converted.fixed else "any batch"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.onnx"
            worst = max(write(net, converted, path), key=lambda d: d.value)
            told |= {"difference": f"{worst.value:.1e}", "blob": worst.blob}
            told["seconds"] = f"{time.perf_counter() - start:.1f}"
            if onnxsim:
                told["onnxsim"] = _simplified(path, onnxsim)
    except Error as error:
        told[""] = str(error).replace(str(source.file), source.file.name)
    except Exception as error:  # a defect, to be seen in the table
        told[""] = f"DEFECT {type(error).__name__}: {error}"
    return told


def _simplified(path: Path, python: str) -> int | str:
    """Return how many operators onnxsim leaves."""
    out = path.with_name("simplified.onnx")
    done = subprocess.run([python, "-m", "onnxsim", str(path), str(out)], capture_output=True, text=True)
    return len(onnx.load(out).graph.node) if out.exists() else (done.stderr or "fails").splitlines()[-1][:60]


def nets(places: list[Path], only: list[str]) -> Iterator[Source]:
    """Yield the nets that are there."""

    def first(repository: str, path: str) -> Path | None:
        files = (find(place, repository, path) for place in places if place.is_dir())
        return next((file for file in files if file is not None), None)

    published = [(net.name, first(net.repository, net.path), None, ()) for net in NETS]
    published += [(m.name, first(*m.prototxt), first(m.repository, m.weights) or "", m.names) for m in MODELS]
    yield from (Source(place.name, place) for place in places if place.is_file())
    for name, file, weights, names in published:
        if file and weights != "" and (not only or any(part.lower() in name.lower() for part in only)):
            yield Source(name, file, weights, names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", type=Path, nargs="+", metavar="FOLDER_OR_PROTOTXT")
    parser.add_argument("--only", action="append", default=[], help="only the nets whose name contains this")
    parser.add_argument("--opset", type=int, default=DEFAULT_OPSET)
    parser.add_argument("--onnxsim", metavar="PYTHON", help="count what onnxsim leaves, in this Python's environment")
    options = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    trouble = False
    # A fresh process for each: its memory goes when it is done.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for source in nets(options.places, options.only):
            told = pool.apply(row, (source, options.opset, options.onnxsim))
            trouble |= bool(told[""])
            print(f"| {' | '.join(str(told.get(column, '')) for column in COLUMNS)} |", flush=True)
    sys.exit(trouble)


if __name__ == "__main__":
    main()
