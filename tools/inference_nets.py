"""Published nets that programs of inference are measured with, and what makes files of them for all programs.

A net is read from the prototxt that its authors published; its parameters are random, from one seed: filters that keep
the size of values (He et al., 2015), in BatchNorm the statistics of random images, and a last layer whose scores have a
standard deviation of 1.
"""

import multiprocessing
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


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
