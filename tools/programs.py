"""Programs of inference, each with one published net in a process of its own: what the benchmarks share.

A net is read from the prototxt that its authors published; its parameters are random, from one seed: filters that keep
the size of values (He et al., 2015), in BatchNorm the statistics of random images, and a last layer whose scores have a
standard deviation of 1.
"""

import argparse
import math
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from turns import peak_memory, timed
from workers import Worker


@dataclass(frozen=True)
class Published:
    """Where a net is published, and what is done to its prototxt.

    Attributes
    ----------
    repository, path : str
        The folder of the repository, and the file in it.
    size : tuple of int, optional
        Height and width of an image, where the file leaves them open.
    joined : tuple of str
        Blobs that a Concat along axis 1 makes one result of; layers that they do not need are left out.
    """

    repository: str
    path: str
    size: tuple[int, int] | None = None
    joined: tuple[str, ...] = ()


NETS = {
    "googlenet": Published("BVLC+caffe", "models/bvlc_googlenet/deploy.prototxt"),
    "resnet50": Published("KaimingHe+deep-residual-networks", "prototxt/ResNet-50-deploy.prototxt"),
    "mobilenet": Published("shicai+MobileNet-Caffe", "mobilenet_deploy.prototxt"),
    "mobilenet_v2": Published("shicai+MobileNet-Caffe", "mobilenet_v2_deploy.prototxt"),
    "squeezenet": Published("forresti+SqueezeNet", "SqueezeNet_v1.1/deploy.prototxt"),
    "densenet121": Published("shicai+DenseNet-Caffe", "DenseNet_121.prototxt"),
    "inception_v3": Published("soeaver+caffe-model", "cls/inception/deploy_inception-v3.prototxt"),
    # PriorBox depends on no image, and which boxes DetectionOutput keeps is arbitrary where parameters are random.
    "ssd300": Published(
        "xzgz+caffe-ssd",
        "models/VGGNet/VOC0712/SSD_300x300/deploy.prototxt",
        joined=("mbox_loc", "mbox_conf_flatten"),
    ),
    "openpose": Published(
        "CMU-Perceptual-Computing-Lab+openpose", "models/pose/body_25/pose_deploy.prototxt", size=(368, 368)
    ),
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


def prepare(
    source: Path, files: Files, batch: int, size: tuple[int, int] | None = None, joined: tuple[str, ...] = ()
) -> None:
    """Write a net for all programs; ``size`` and ``joined`` are those of :class:`Published`."""
    from caffelite.export.onnx.convert import convert
    from caffelite.export.onnx.files import save
    from caffelite.net import Net
    from caffelite.net.deploy import deploy
    from caffelite.schema.printer import write_text
    from caffelite.schema.text import read_net
    from caffelite.words import TEST, TRAIN

    rng = np.random.default_rng(SEED)
    document = read_net(source)
    shape = document.message.layer[0].input_param.shape[0]
    shape.dim[0] = MEASURED
    shape.dim[2:] = size or shape.dim[2:]
    if joined:
        join(document, joined)
    measuring = Net(document, TRAIN, keep=True, learn=False, global_stats=False)
    for layer in measuring.layers:
        randomise(layer, rng)
    data = measuring.blobs[measuring.inputs[0]].data
    data[...] = rng.standard_normal(data.shape) * DEVIATION
    measuring.forward()
    for scores, layers in last_layers(measuring.graph):
        deviation = measuring.blobs[scores].data.std(axis=1).mean()
        for blob in (blob for layer in layers for blob in layer.blobs):
            blob.data /= deviation
    measuring.save(files.weights)

    shape.dim[0] = batch
    write_text(document, files.prototxt)
    # Its kernels are compiled here, so that the process that is measured finds them.
    net = Net(files.prototxt, TEST, weights=files.weights)
    net.forward()
    # BatchNorm stays what it is: each program folds it, or does not.
    deployed, _ = deploy(document)
    save(convert(Net(deployed, TEST, weights=files.weights, keep=True, learn=False), batch=batch).model, files.onnx)
    np.save(files.folder / "images.npy", (rng.standard_normal((batch, *data.shape[1:])) * DEVIATION).astype(np.float32))


def prepared(sources: Mapping[str, Path], batch: int) -> Iterator[tuple[str, Files]]:
    """Write one net after the other for all programs, in a process that is gone when they are timed."""
    with (
        tempfile.TemporaryDirectory() as temporary,
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool,
    ):
        for name, path in sources.items():
            files = Files(Path(temporary) / name)
            files.folder.mkdir()
            net = NETS.get(name)
            pool.apply(prepare, (path, files, batch, *((net.size, net.joined) if net else ())))
            yield name, files


def join(document: Any, blobs: tuple[str, ...]) -> None:
    """Put a Concat of blobs behind a net, in place of all layers that they do not need."""
    layers = document.message.layer
    read = set(blobs)
    for layer in reversed(list(layers)):
        if read.isdisjoint(layer.top):
            layers.remove(layer)
        else:
            read.update(layer.bottom)
    layers.add(name="result", type="Concat", bottom=blobs, top=["result"])


def last_layers(graph: Any) -> Iterator[tuple[str, list[Any]]]:
    """Return the scores of a net, by name, each with the layers that learn right before them.

    Scores are what Softmax takes, and where there is none what the net returns.
    """
    paths = [(graph.names[name], graph.names[name]) for name in graph.outputs]
    found: dict[Any, list[Any]] = {}
    while paths:
        scores, version = paths.pop()
        node = version.producer
        if node.layer.blobs:
            found.setdefault(scores, []).append(node.layer)
        elif node.layer.type == "Softmax":
            paths += [(bottom, bottom) for bottom in node.bottoms]
        else:
            # What Concat joins may be of different sizes.
            joins = node.layer.type == "Concat"
            paths += [(bottom if joins else scores, bottom) for bottom in node.bottoms]
    return ((scores.name, layers) for scores, layers in found.items())


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


def source(folder: Path, net: str) -> Path:
    """Return where a net of ``NETS`` lies.

    Raises
    ------
    ValueError
        There is no such net, or its file is missing.
    """
    if net not in NETS:
        raise ValueError(f"there is no net {net}, but {', '.join(NETS)}")
    path = folder / NETS[net].repository / NETS[net].path
    if not path.is_file():
        raise ValueError(f"{path} is missing; tools/bench_infer.py --help says where it is published")
    return path


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
