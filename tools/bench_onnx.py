"""ONNX files of ``caffelite convert`` in ONNX Runtime, beside those that PyTorch's own exporter makes of the same nets.

The twin of a net is a PyTorch module of the same layers and weights, BatchNorm and Scale as BatchNorm2d
(``caffelite convert NET OUT.py``), exported by ``torch.onnx.export`` in evaluation mode, in the same opset. A net with
LRN has one more file, of ``--decompose-lrn``. Each file is held by a process of its own; they run in turns, as in
``bench_infer.py``, which says where the nets come from. What is reported is how many operators a file has, the median
pass, and its ratio to that of the twin.
"""

import argparse
import dataclasses
import json
import multiprocessing
import shutil
import warnings
from contextlib import ExitStack
from typing import Any

import onnx
from inference_nets import Files, prepared
from programs import Passes, agree, asked, difference, passes_parser
from turns import in_turns, machine, use_threads

TWIN, PLAIN, DECOMPOSED = "PyTorch", "caffelite", "caffelite --decompose-lrn"


def write_all(files: Files) -> dict[str, int]:
    """Write a net's ONNX files, each with images in a folder of its own; return how many operators they have."""
    import torch

    from caffelite.batchnorm.fold import fold
    from caffelite.export.onnx.convert import DEFAULT_OPSET, convert
    from caffelite.export.onnx.files import save
    from caffelite.export.torch.check import load_module
    from caffelite.export.torch.convert import convert as as_module
    from caffelite.export.torch.write import save as save_module
    from caffelite.net import Net
    from caffelite.words import TEST

    warnings.simplefilter("ignore")
    net = Net(files.prototxt, TEST, weights=files.weights, keep=True, learn=False)
    has_lrn = any(layer.type == "LRN" for layer in net.layers)
    places = {writer: of(files, writer) for writer in (TWIN, PLAIN, *([DECOMPOSED] if has_lrn else []))}
    for place in places.values():
        place.folder.mkdir()
        shutil.copy(files.folder / "images.npy", place.folder)
    module = files.folder / "net.py"
    save_module(as_module(net, {}), module, {"net": net.name})
    images = torch.from_numpy(files.images())
    torch.onnx.export(
        load_module(module).eval(), (images,), places[TWIN].onnx, opset_version=DEFAULT_OPSET, dynamo=False
    )
    folded = fold(net, check=False).net
    for writer in places.keys() - {TWIN}:
        converted = convert(folded, batch=len(images), decompose_lrn=writer == DECOMPOSED)
        save(converted.model, places[writer].onnx)
    return {writer: len(onnx.load(place.onnx).graph.node) for writer, place in places.items()}


def of(files: Files, writer: str) -> Files:
    """Return where what one program has written lies."""
    return Files(files.folder / writer)


def measure(name: str, files: Files, operators: dict[str, int], options: argparse.Namespace) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        workers = {}
        for writer in operators:
            workers[writer] = worker = Passes("ONNX Runtime", of(files, writer), options.threads)
            stack.callback(worker.close)
        agree(name, *workers.values())
        timings = in_turns({writer: worker.run for writer, worker in workers.items()}, options.rounds, options.seconds)
        first = workers[TWIN].result
        return [
            {
                "net": name,
                "batch": options.batch,
                "file": writer,
                "operators": operators[writer],
                **dataclasses.asdict(timing),
                "difference": difference(workers[writer].result, first),
            }
            for writer, timing in timings.items()
        ]


def main() -> None:
    parser = passes_parser(__doc__)
    options = parser.parse_args()
    sources = asked(parser, options, ["ONNX Runtime", "PyTorch"])
    use_threads(options.threads)
    rows = []
    for name, files in prepared(sources, options.batch):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            operators = pool.apply(write_all, (files,))
        of_net = measure(name, files, operators, options)
        rows += of_net
        for r in of_net if not options.json else ():
            print(
                f"{name:12s} batch {options.batch:3d}   {r['file']:25s} {r['operators']:4d} operators "
                f"{r['ms']:8.2f} ms ({r['low']:.2f} to {r['high']:.2f})   ratio {r['ratio']:.2f} "
                f"({r['ratio_low']:.2f} to {r['ratio_high']:.2f})   difference {r['difference']:.0e}",
                flush=True,
            )
    facts = machine(options.threads)
    print(json.dumps({"facts": facts, "rows": rows}, indent=1) if options.json else facts)


if __name__ == "__main__":
    main()
