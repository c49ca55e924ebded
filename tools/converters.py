"""Published nets through converters of Caffe's files to ONNX, and what ONNX Runtime makes of the files they write.

FOLDERS hold checkouts of the repositories in ``published.NETS`` and ``published.MODELS``, as for ``published_onnx.py``;
where there are no weights they are random. Each converter but caffelite's is run in the Python of an environment of its
own, since each needs versions of its own:

    python3.7 -m venv A && A/bin/pip install caffe2onnx==2.0.1 'protobuf<4'
    python3.7 -m venv B && B/bin/pip install caffe-onnx==0.1.2 onnx==1.6.0
    python tools/converters.py FOLDER --caffe2onnx A/bin/python --caffe-onnx B/bin/python

github.com/inisis/caffe2onnx is no package: for ``--inisis`` the environment needs a checkout in its path (a ``.pth``
file), onnx, onnxruntime and a module ``caffe``, which ``caffe-package`` is.

A cell of the table tells how many operators a file has, and the largest difference of its outputs to caffelite's, by
the largest deviation of an output from its mean; or where it ended. All get the same prototxt: for one image, since
some converters know no other batch, and without a softmax at the end, behind which differences of random nets are
hidden.
"""

import argparse
import multiprocessing
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from programs import difference
from published_nets import difference as difference_of_boxes
from published_nets import give_modules, without_softmax
from published_onnx import Source, nets, weighted

from caffelite.errors import Error
from caffelite.export.inputs import random_input
from caffelite.schema.printer import write_text

#: name -> what its Python is given; the option of the command line has the name. caffelite's Python is this one.
CONVERTERS = {
    "caffelite": ("-m", "caffelite", "convert", "{prototxt}", "--weights", "{weights}", "{folder}/net.onnx"),
    "caffe2onnx": (
        *("-m", "caffe2onnx.convert", "--prototxt", "{prototxt}", "--caffemodel", "{weights}"),
        *("--onnx", "{folder}/net.onnx"),
    ),
    "caffe-onnx": ("-m", "src.cli", "{prototxt}", "{weights}", "net", "{folder}"),
    "inisis": ("-m", "caffe2onnx", "{prototxt}", "{weights}", "inisis/net"),  # below the prototxt
}
#: Seconds that a converter may take.
PATIENCE = 300
#: Below this a file computes what the net computes.
EQUAL = 1e-4
#: Characters of a reason.
SHORT = 150


def prepare(source: Source, folder: Path) -> None:
    """Write a net for all converters: its prototxt, its weights, and what goes in and comes out, in order.

    Raises
    ------
    Error
        caffelite does not read or run it.
    """
    warnings.simplefilter("ignore")
    give_modules()
    document = without_softmax(source.file)
    for layer in document.message.layer:
        for shape in layer.input_param.shape:
            if len(shape.dim) == 4:
                shape.dim[0] = 1
    net = weighted(source, document)
    write_text(document, folder / "net.prototxt")
    net.save(folder / "net.caffemodel")
    rng = np.random.default_rng(2)
    for version in (v for node in net.graph.nodes if node.layer.facts.net_input for v in node.tops):
        values = net.plan.blob(version).data
        values[...] = random_input(version, values.shape, rng)
    np.savez(folder / "inputs.npz", *(net.blobs[name].data for name in net.inputs))
    net.forward()
    np.savez(folder / "outputs.npz", *(net.blobs[name].data for name in net.outputs))


def convert(converter: str, python: str, folder: Path, out: Path) -> str:
    """Let a converter write ``net.onnx`` into the folder ``out``; return why there is none, or nothing."""
    places = {"prototxt": folder / "net.prototxt", "weights": folder / "net.caffemodel", "folder": out}
    command = [python, *(argument.format_map(places) for argument in CONVERTERS[converter])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        return f"not done after {PATIENCE} s"
    if (out / "net.onnx").exists():
        return ""
    return "no file: " + reason(done.stderr or done.stdout)


def reason(text: str) -> str:
    """Return the last line of what a program said, for a cell of a table."""
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "it says nothing").strip()
    return (last if len(last) <= SHORT else last[:SHORT] + "…").replace("|", "/")


def held(path: Path, inputs: list[np.ndarray], outputs: list[np.ndarray]) -> str:
    """Return the cell of a file: its operators, and how far its outputs are apart, or why there are none.

    Inputs are given in order, as some converters change their names. An output is the file's of the same size that is
    nearest: not all keep their names, nor their order.
    """
    operators = f"{len(onnx.load(path, load_external_data=False).graph.node)} operators"
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]
        initial = {one.name for one in session.get_overridable_initializers()}
        feeds = dict(zip((name for name in names if name not in initial), inputs, strict=True))
        computed = session.run(None, feeds)
    except Exception as error:  # what ONNX Runtime raises has no base of its own
        # "[ONNXRuntimeError] : 1 : FAIL : " stands before what it is about.
        message = str(error).split(" : ", 3)[-1].replace(str(path), path.name)
        return f"{operators}, ONNX Runtime: {reason(message)}"
    worst = max(min((apart(one, expected) for one in computed), default=np.inf) for expected in outputs)
    if worst == np.inf:
        shapes = ", ".join("×".join(map(str, np.shape(one))) for one in computed)
        return f"{operators}, another shape: {shapes}"
    return f"{operators}, {'' if worst < EQUAL else '**differs** by '}{worst:.1e}"


def apart(computed: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of an output, infinity where its size is another."""
    if expected.shape[:2] == (1, 1) and expected.shape[3:] == (7,):
        try:
            return difference_of_boxes(expected, computed, "detections")
        except (Error, ValueError, IndexError):
            return np.inf
    return difference(computed, expected)


def cells(folder: Path, pythons: Mapping[str, str]) -> dict[str, str]:
    """Return the cells of a net that :func:`prepare` has written."""
    arrays = []
    for file in ("inputs.npz", "outputs.npz"):
        with np.load(folder / file) as stored:
            arrays.append([stored[name] for name in stored.files])
    of_net = {}
    for converter, python in pythons.items():
        out = folder / converter
        out.mkdir()
        of_net[converter] = convert(converter, python, folder, out) or held(out / "net.onnx", *arrays)
    return of_net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", type=Path, nargs="+", metavar="FOLDER_OR_PROTOTXT")
    parser.add_argument("--only", action="append", default=[], help="only the nets whose name contains this")
    for name in list(CONVERTERS)[1:]:
        parser.add_argument(f"--{name}", dest=name, metavar="PYTHON", help=f"of an environment that has {name}")
    options = parser.parse_args()
    pythons = {"caffelite": sys.executable} | {
        name: vars(options)[name] for name in CONVERTERS if vars(options).get(name)
    }
    for name, python in pythons.items():
        if shutil.which(python) is None:
            parser.error(f"--{name}: {python} is no program")
    print(f"| net | {' | '.join(pythons)} |\n|{'---|' * (1 + len(pythons))}")
    # A fresh process for each: its memory goes when it is done.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for source in nets(options.places, options.only):
            with tempfile.TemporaryDirectory() as folder:
                try:
                    pool.apply(prepare, (source, Path(folder)))
                    of_net = pool.apply(cells, (Path(folder), pythons))
                except Error as error:
                    of_net = {"caffelite": reason(str(error))}
            print(f"| {source.name} | {' | '.join(of_net.get(name, '') for name in pythons)} |", flush=True)


if __name__ == "__main__":
    main()
