"""Programs of inference, each with one published net in a process of its own: what the benchmarks share."""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from inference_nets import NETS, Files, source
from turns import peak_memory, timed
from workers import Worker

#: The largest difference that programs may have, by the largest deviation of a result from the mean result.
TOLERANCE = 2e-4
#: Seconds after which threads that wait for more work are asleep.
REST = 0.1

Forward = Callable[[np.ndarray], np.ndarray]


def caffelite_nets(files: Files, count: int) -> list[Forward]:
    """Return passes that may run at once, of nets that share their parameters."""
    from caffelite.net import Net
    from caffelite.words import TEST

    def forward(net: Net, images: np.ndarray) -> np.ndarray:
        net.blobs[net.inputs[0]].data[...] = images
        net.forward()
        return net.blobs[net.outputs[0]].data

    first = Net(files.prototxt, TEST, weights=files.weights)
    nets = [first, *(Net(files.prototxt, TEST, share=first) for _ in range(count - 1))]
    return [partial(forward, net) for net in nets]


def caffelite(files: Files, threads: int, spinning: bool) -> Forward:
    return caffelite_nets(files, 1)[0]


def _set_and_forward(net: Any, images: np.ndarray) -> np.ndarray:
    """Pass images through a net as OpenCV's users do."""
    net.setInput(images)
    return net.forward()


def caffelite_dnn(files: Files, threads: int, spinning: bool) -> Forward:
    from caffelite import dnn

    return partial(_set_and_forward, dnn.readNetFromCaffe(files.prototxt, files.weights))


def opencv(files: Files, threads: int, spinning: bool) -> Forward:
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromCaffe(str(files.prototxt), str(files.weights))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)
    net.enableFusion(True)
    return partial(_set_and_forward, net)


def onnxruntime(files: Files, threads: int, spinning: bool) -> Forward:
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    session = ort.InferenceSession(str(files.onnx), settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def openvino_requests(files: Files, threads: int, count: int) -> list[Forward]:
    """Return passes that may run at once, over one compiled model in float32."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(files.onnx, "CPU", settings)

    def forward(request: Any, images: np.ndarray) -> np.ndarray:
        return request.infer([images], share_inputs=True)[model.outputs[0]]

    return [partial(forward, model.create_infer_request()) for _ in range(count)]


def openvino(files: Files, threads: int, spinning: bool) -> Forward:
    return openvino_requests(files, threads, 1)[0]


def pytorch(files: Files, threads: int, spinning: bool) -> Forward:
    import torch
    from torch_onnx import load

    torch.set_num_threads(threads)
    return load(files.onnx)


PROGRAMS: dict[str, Callable[[Files, int, bool], Forward]] = {
    "caffelite": caffelite,
    "caffelite.dnn": caffelite_dnn,
    "OpenCV": opencv,
    "ONNX Runtime": onnxruntime,
    "OpenVINO": openvino,
    "PyTorch": pytorch,
}


def answering(program: str, files: Files, threads: int, spinning: bool) -> Callable[[tuple[int, float]], Any]:
    """Return a function that does passes as :func:`turns.timed` does steps."""
    images = files.images()
    forward = PROGRAMS[program](files, threads, spinning)
    waited = used = 0.0  # seconds, and those of a core that it took meanwhile
    rest = time.perf_counter(), time.process_time()

    def answer(request: tuple[int, float]) -> Any:
        nonlocal waited, used, rest
        waited += time.perf_counter() - rest[0]
        used += time.process_time() - rest[1]
        forward(images)  # wakes its threads
        times = timed(partial(forward, images), *request)
        result = np.array(forward(images))
        time.sleep(REST)
        rest = time.perf_counter(), time.process_time()
        return times, result, used / waited, peak_memory()

    return answer


class Passes(Worker):
    """A program that runs one net, in a process of its own."""

    def __init__(
        self, program: str, files: Files, threads: int, spinning: bool = True, checkout: Path | None = None
    ) -> None:
        super().__init__(program, answering, program, files, threads, spinning, checkout=checkout)
        self.result = np.empty(0)
        #: The share of a core that it took while it waited.
        self.awake = 0.0
        self.peak_mb = 0.0

    def run(self, steps: int, seconds: float = math.inf) -> list[float]:
        times, self.result, self.awake, self.peak_mb = self.ask((steps, seconds))
        return times


def difference(result: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference of two results, by the largest deviation of the expected ones from their mean."""
    flat = expected.reshape(len(expected), -1).astype(np.float64)
    spread = np.abs(flat - flat.mean()).max()
    # A result that is the same everywhere agrees with anything.
    if result.size != expected.size or not spread > 1e-2 * np.abs(flat).mean():
        return float("inf")
    return float(np.abs(result.reshape(flat.shape) - flat).max() / spread)


def agree(net: str, first: Passes, *others: Passes) -> None:
    """End the run where a program's result is not the first one's."""
    first.run(1)
    for worker in others:
        worker.run(1)
        found = difference(worker.result, first.result)
        if not found < TOLERANCE:
            sys.exit(f"{net}: {worker.name} and {first.name} differ by {found:.1e}, not timed")


def needed(programs: Iterable[str]) -> None:
    """Raise ValueError where a package that programs need is not installed."""
    packages = {"OpenCV": "cv2", "ONNX Runtime": "onnxruntime", "OpenVINO": "openvino", "PyTorch": "torch"}
    # Each net is written for all programs.
    missing = ["ONNX"] if find_spec("onnx") is None else []
    missing += [program for program in programs if program in packages and find_spec(packages[program]) is None]
    if missing:
        raise ValueError(f"not installed: {', '.join(missing)}; pip install '.[bench]', or choose others by --programs")


def passes_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of a tool that times passes of nets: which, where they are, how many threads, how often."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NET", help=f"{', '.join(NETS)} (all)")
    parser.add_argument("--nets", type=Path, required=True, metavar="FOLDER", help="where the repositories are")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each program or file a round")
    parser.add_argument("--json", action="store_true")
    return parser


def asked(parser: argparse.ArgumentParser, options: argparse.Namespace, programs: Iterable[str]) -> dict[str, Path]:
    """Return the nets that were asked for; end the tool where one of them, or a program, is not there."""
    try:
        sources = {name: source(options.nets, name) for name in options.names or NETS}
        needed(programs)
    except ValueError as error:
        parser.error(str(error))
    return sources
