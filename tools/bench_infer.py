"""Inference of published nets: caffelite beside OpenCV, ONNX Runtime and PyTorch (``pip install .[bench]``).

Each program is a process of its own that holds one net. In turns, all on the same number of threads, they take images
from a NumPy array to the result in one; the others wait meanwhile, asleep. What is reported is the median pass of each,
with the smallest and largest median of a round, its ratio to caffelite's, and the most memory that its process ever
had. Before that, all results are held against caffelite's.

The nets are read from where their authors published them, a folder ``OWNER+NAME`` for each repository:

    git clone https://github.com/BVLC/caffe FOLDER/BVLC+caffe
    git clone https://github.com/KaimingHe/deep-residual-networks FOLDER/KaimingHe+deep-residual-networks
    git clone https://github.com/shicai/MobileNet-Caffe FOLDER/shicai+MobileNet-Caffe
    git clone https://github.com/forresti/SqueezeNet FOLDER/forresti+SqueezeNet

Their parameters are random, from one seed: filters that keep the size of values (He et al., 2015), in BatchNorm the
statistics of random images, and a last layer whose scores have a standard deviation of 1.
"""

import argparse
import dataclasses
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from turns import in_turns, machine, peak_memory, timed, use_threads

#: name -> folder of the repository, path in it
NETS = {
    "googlenet": ("BVLC+caffe", "models/bvlc_googlenet/deploy.prototxt"),
    "resnet50": ("KaimingHe+deep-residual-networks", "prototxt/ResNet-50-deploy.prototxt"),
    "mobilenet": ("shicai+MobileNet-Caffe", "mobilenet_deploy.prototxt"),
    "squeezenet": ("forresti+SqueezeNet", "SqueezeNet_v1.1/deploy.prototxt"),
}
SEED = 1
#: Images are like photographs less their mean.
DEVIATION = 60.0
#: Images that the statistics of BatchNorm are of.
MEASURED = 4
#: The largest difference that programs may have, by the largest deviation of a result from the mean result.
TOLERANCE = 2e-4
#: Seconds after which threads that wait for more work are asleep.
REST = 0.1

Forward = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Files:
    """One net in the formats of all programs, in one folder."""

    folder: Path

    @property
    def prototxt(self) -> Path:
        return self.folder / "net.prototxt"

    @property
    def weights(self) -> Path:
        return self.folder / "net.caffemodel"

    @property
    def onnx(self) -> Path:
        return self.folder / "net.onnx"

    def images(self) -> np.ndarray:
        return np.load(self.folder / "images.npy")


def prepare(source: Path, files: Files, batch: int) -> None:
    """Write a net for all programs."""
    import onnx
    from onnx_twin import twin

    from caffelite.net import Net
    from caffelite.schema.printer import write_text
    from caffelite.schema.text import read_net
    from caffelite.words import TEST, TRAIN

    rng = np.random.default_rng(SEED)
    document = read_net(source)
    document.message.layer[0].input_param.shape[0].dim[0] = MEASURED
    measuring = Net(document, TRAIN, keep=True, learn=False, global_stats=False)
    for layer in measuring.layers:
        randomise(layer, rng)
    data = measuring.blobs[measuring.inputs[0]].data
    data[...] = rng.standard_normal(data.shape) * DEVIATION
    measuring.forward()
    scores = measuring.graph.nodes[-1].bottoms[0].name
    last = [blobs for blobs in measuring.params.values()][-1]
    deviation = measuring.blobs[scores].data.std(axis=1).mean()
    for blob in last:
        blob.data /= deviation
    measuring.save(files.weights)

    document.message.layer[0].input_param.shape[0].dim[0] = batch
    write_text(document, files.prototxt)
    # Its kernels are compiled here, so that the process that is measured finds them.
    net = Net(files.prototxt, TEST, weights=files.weights)
    net.forward()
    onnx.save(twin(net), files.onnx)
    np.save(files.folder / "images.npy", (rng.standard_normal((batch, *data.shape[1:])) * DEVIATION).astype(np.float32))


def randomise(layer: Any, rng: np.random.Generator) -> None:
    kind = layer.param.type
    if kind in ("Convolution", "InnerProduct"):
        filters, *bias = layer.blobs
        filters.data[...] = rng.normal(0, np.sqrt(2 * filters.shape[0] / filters.data.size), filters.shape)
        for blob in bias:
            blob.data[...] = rng.normal(0, 0.1, blob.shape)
    elif kind == "Scale":
        for blob, mean in zip(layer.blobs, (1.0, 0.0), strict=False):
            blob.data[...] = rng.normal(mean, 0.2, blob.shape)


def caffelite(files: Files, threads: int, options: Any) -> Forward:
    from caffelite.net import Net
    from caffelite.words import TEST

    net = Net(files.prototxt, TEST, weights=files.weights)
    x, y = net.blobs[net.inputs[0]].data, net.blobs[net.outputs[0]].data

    def forward(images: np.ndarray) -> np.ndarray:
        x[...] = images
        net.forward()
        return y

    return forward


def opencv(files: Files, threads: int, options: Any) -> Forward:
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromCaffe(str(files.prototxt), str(files.weights))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    net.enableFusion(True)

    def forward(images: np.ndarray) -> np.ndarray:
        net.setInput(images)
        return net.forward()

    return forward


def onnxruntime(files: Files, threads: int, options: Any) -> Forward:
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(not options.no_spinning)))
    session = ort.InferenceSession(str(files.onnx), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def pytorch(files: Files, threads: int, options: Any) -> Forward:
    import torch
    from torch_onnx import load

    torch.set_num_threads(threads)
    return load(files.onnx)


PROGRAMS: dict[str, Callable[[Files, int, Any], Forward]] = {
    "caffelite": caffelite,
    "OpenCV": opencv,
    "ONNX Runtime": onnxruntime,
    "PyTorch": pytorch,
}


def serve(pipe: Connection, program: str, files: Files, options: argparse.Namespace) -> None:
    """Do what is asked through the pipe, in a process of its own."""
    images = files.images()
    forward = PROGRAMS[program](files, options.threads, options)
    waited = used = 0.0  # seconds, and those of a core that it took meanwhile
    while True:
        waited -= time.perf_counter()
        used -= time.process_time()
        steps = pipe.recv()
        waited += time.perf_counter()
        used += time.process_time()
        if steps is None:
            return
        forward(images)  # wakes its threads
        times = timed(partial(forward, images), steps)
        result = np.array(forward(images))
        time.sleep(REST)
        pipe.send((times, result, used / waited, peak_memory()))


class Worker:
    """A program in a process of its own."""

    def __init__(self, program: str, files: Files, options: argparse.Namespace) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, program, files, options), daemon=True)
        self._process.start()
        theirs.close()
        self.program = program
        self.result = np.empty(0)
        #: The share of a core that it took while it waited.
        self.awake = 0.0
        self.peak_mb = 0.0

    def run(self, steps: int) -> list[float]:
        self._pipe.send(steps)
        try:
            times, self.result, self.awake, self.peak_mb = self._pipe.recv()
        except EOFError:
            sys.exit(f"{self.program} ended; what it said is above")
        return times

    def close(self) -> None:
        if self._process.is_alive():
            self._pipe.send(None)
        self._process.join()


def difference(result: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of two results, by the largest deviation of the expected ones from their mean."""
    flat = expected.reshape(len(expected), -1).astype(np.float64)
    spread = np.abs(flat - flat.mean()).max()
    # A result that is the same everywhere agrees with anything.
    if result.size != expected.size or not spread > 1e-2 * np.abs(flat).mean():
        return float("inf")
    return float(np.abs(result.reshape(flat.shape) - flat).max() / spread)


def measure(name: str, files: Files, options: argparse.Namespace) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        workers = {}
        for program in options.programs:
            workers[program] = worker = Worker(program, files, options)
            stack.callback(worker.close)
        first, *others = workers.values()
        first.run(1)
        for worker in others:
            worker.run(1)
            found = difference(worker.result, first.result)
            if not found < TOLERANCE:
                sys.exit(f"{name}: {worker.program} and {first.program} differ by {found:.1e}, not timed")
        found = in_turns({name: worker.run for name, worker in workers.items()}, options.rounds, options.seconds)
        return [
            {
                "net": name,
                "batch": options.batch,
                "program": program,
                **dataclasses.asdict(result),
                "difference": difference(worker.result, first.result),
                "peak_mb": worker.peak_mb,
                "awake": worker.awake,
            }
            for (program, result), worker in zip(found.items(), workers.values(), strict=True)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NET", help=f"{', '.join(NETS)} (all)")
    parser.add_argument("--nets", type=Path, required=True, metavar="FOLDER", help="where the repositories are")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each program a round")
    parser.add_argument(
        "--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS), help="the first is compared with"
    )
    parser.add_argument("--no-spinning", action="store_true", help="threads of ONNX Runtime never wait by spinning")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for name in options.names or NETS:
        if name not in NETS:
            parser.error(f"there is no net {name}, but {', '.join(NETS)}")
        if not options.nets.joinpath(*NETS[name]).is_file():
            parser.error(f"{options.nets.joinpath(*NETS[name])} is missing; --help says where it is published")
    use_threads(options.threads)
    rows = []
    with (
        tempfile.TemporaryDirectory() as temporary,
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool,
    ):
        for name in options.names or NETS:
            files = Files(Path(temporary) / name)
            files.folder.mkdir()
            pool.apply(prepare, (options.nets.joinpath(*NETS[name]), files, options.batch))
            found = measure(name, files, options)
            rows += found
            for r in found if not options.json else ():
                print(
                    f"{name:10s} batch {options.batch:3d}   {r['program']:12s} {r['ms']:8.2f} ms ({r['low']:.2f} to "
                    f"{r['high']:.2f})   ratio {r['ratio']:.2f} ({r['ratio_low']:.2f} to {r['ratio_high']:.2f})   "
                    f"{r['peak_mb']:6.0f} MiB   difference {r['difference']:.0e}   awake {r['awake']:.1%}",
                    flush=True,
                )
    facts = machine(options.threads)
    print(json.dumps({"facts": facts, "rows": rows}, indent=1) if options.json else facts)


if __name__ == "__main__":
    main()
