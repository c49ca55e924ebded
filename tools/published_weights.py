"""Published weights: each file is read into its net, and what the net computes is held against what is known of it.

FOLDER holds checkouts of the repositories in ``MODELS`` as ``OWNER/NAME``, ``OWNER+NAME`` or ``NAME``. Nets with a test
set are tested on all of it (``--data``, the original files); the others, on random input, against their ONNX twin in
ONNX Runtime or against OpenCV's reader of Caffe's files, or where that does not read a net, against PyTorch in float64
(``pip install .[bench]``). Every other weights file under FOLDER is read, and what cannot be read is told.
"""

import argparse
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from published_nets import DIFFERENT, against_kept, against_opencv, feed, find, without_softmax

from caffelite.datasets import cifar10, mnist
from caffelite.errors import Error
from caffelite.net import Net
from caffelite.schema.text import net_from_text, read_text
from caffelite.schema.weights import read_weights
from caffelite.words import TEST, text_of

LINZAER = "Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB"
MTCNN = "imistyrain/MTCNN"
SURGERY = "yiwenguo/Dynamic-Network-Surgery"
ARM = "ARM-software/ML-examples"
LANDMARKS = "luoyetx/mini-caffe"
YU = "ShiqiYu/libfacedetection"
MNIST, CIFAR10 = "MNIST", "CIFAR-10"
#: Where a weights file came without a prototxt.
LENET = ("BVLC/caffe", "examples/mnist/lenet.prototxt")


@dataclass(frozen=True, slots=True)
class Model:
    """A weights file with the net that it is for.

    Attributes
    ----------
    name : str
    repository, weights : str
    net : str
        The prototxt, in the same repository or as ``owner/name:path``.
    data : str
        The data set it is tested on; else it is compared.
    published : str
        What its authors say of its accuracy.
    onnx : str
        Its ONNX twin in the same repository.
    names : tuple of (str, str)
        Layers of the net that are called otherwise in the weights file.
    """

    name: str
    repository: str
    weights: str
    net: str
    data: str = ""
    published: str = ""
    onnx: str = ""
    names: tuple[tuple[str, str], ...] = ()

    @property
    def prototxt(self) -> tuple[str, str]:
        repository, _, path = self.net.rpartition(":")
        return repository or self.repository, path


def _mtcnn(name: str, net: str, weights: str = "") -> Model:
    return Model(f"MTCNN {name}", MTCNN, f"model/{weights or net}.caffemodel", f"model/{net}.prototxt")


def _ultra(name: str) -> Model:
    path = f"caffe/model/{name}/{name.replace('Slim', 'slim')}"
    twin = f"models/onnx/version-{name.replace('Slim', 'slim')}_without_postprocessing.onnx"
    return Model(f"Ultra-Light {name}", LINZAER, f"{path}.caffemodel", f"{path}.prototxt", onnx=twin)


def _surgery(name: str, folder: str, kind: str, published: str) -> Model:
    path = f"models/{folder}"
    weights = f"{path}/caffe_{folder}_{kind}.caffemodel"
    return Model(name, SURGERY, weights, f"{path}/{folder}.prototxt", MNIST, published)


_LENET = ":".join(LENET)
_CIFAR = "cmsisnn-cifar10/models/cifar10"
MODELS = (
    _surgery("LeNet-5", "lenet5", "original", "99.09%"),
    _surgery("LeNet-5, pruned", "lenet5", "sparse", "99.09%"),
    _surgery("LeNet-300-100", "lenet300100", "original", "97.72%"),
    _surgery("LeNet-300-100, pruned", "lenet300100", "sparse", "98.01%"),
    Model(
        "LeNet",
        "ethereon/caffe-tensorflow",
        "examples/mnist/lenet_iter_10000.caffemodel",
        "examples/mnist/lenet.prototxt",
        MNIST,
        "about 99.1%",
    ),
    Model(
        "LeNet",
        "may0324/DeepCompression-caffe",
        "examples/mnist/models/lenet_iter_10000.caffemodel",
        _LENET,
        MNIST,
        "about 99.1%",
        names=(("ip1", "fc1"), ("ip2", "fc2")),
    ),
    Model("LeNet", ARM, "armnn-mnist/model/lenet_iter_9000.caffemodel", _LENET, MNIST, "about 99.1%"),
    Model(
        "CMSIS-NN CIFAR-10, M7",
        ARM,
        f"{_CIFAR}_m7_iter_300000.caffemodel.h5",
        f"{_CIFAR}_m7_train_test.prototxt",
        CIFAR10,
        "80.3%",
    ),
    Model(
        "CMSIS-NN CIFAR-10, M4",
        ARM,
        f"{_CIFAR}_m4_iter_70000.caffemodel.h5",
        f"{_CIFAR}_m4_train_test.prototxt",
        CIFAR10,
    ),
    _ultra("RFB-320"),
    _ultra("Slim-320"),
    *(
        _mtcnn(name, f"caffe/{file}")
        for name, file in (("P-Net", "det1"), ("R-Net", "det2"), ("O-Net", "det3"), ("L-Net", "det4"))
    ),
    _mtcnn("P-Net, depthwise", "fast/det1_"),
    _mtcnn("R-Net, half", "caffe/det2", "fast/det2_half"),
    _mtcnn("O-Net, half", "fast/det3-half"),
    _mtcnn("O-Net, fast", "fast/det3"),
    *(
        Model(
            f"MTCNN {name}, ReLU",
            "nwesem/mtcnn_facenet_cpp_tensorRT",
            f"mtcnn_facenet_cpp_tensorRT/mtCNNModels/{file}.caffemodel",
            f"mtcnn_facenet_cpp_tensorRT/mtCNNModels/{file}.prototxt",
        )
        for name, file in (("P-Net", "det1_relu"), ("R-Net", "det2_relu"), ("O-Net", "det3_relu"))
    ),
    Model(
        "SqueezeNet 1.1, cats and dogs",
        "mrgloom/kaggle-dogs-vs-cats-solution",
        "demo/SqeezeNet_v1.1/model.caffemodel",
        "demo/SqeezeNet_v1.1/deploy.prototxt",
    ),
    *(
        Model(
            f"YuFaceDetectNet {v}",
            YU,
            f"models/caffe/yufacedetectnet-open-{v}.caffemodel",
            f"models/caffe/yufacedetectnet-open-{v}.prototxt",
        )
        for v in ("v1", "v2")
    ),
    Model("VDSR", "huangzehao/caffe-vdsr", "Train/VDSR_Adam.caffemodel", "Train/VDSR_net_deploy.prototxt"),
    Model(
        "VanFace landmarks", "lsy17096535/face-landmark", "model/VanFace.caffemodel", "model/landmark_deploy.prototxt"
    ),
    Model(
        "Landmarks",
        "xialuxi/arcface-caffe",
        "landmark_and_pose/new_model/landmark.caffemodel",
        "landmark_and_pose/new_model/landmark.prototxt",
    ),
    *(
        Model(
            f"Deep landmarks {file}",
            LANDMARKS,
            f"example/models/deeplandmark/{file}.caffemodel",
            f"example/models/deeplandmark/{file}.prototxt",
        )
        for file in ("1_F", "2_LE1", "2_N1")
    ),
    Model(
        "MobileNet-YOLO v3 lite",
        "eric612/MobileNet-YOLO",
        "models/tusimple/mobilenet_yolov3_lite_deploy_iter_50000.caffemodel",
        "models/tusimple/mobilenet_yolov3_lite_deploy.prototxt",
    ),
)


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
    from torch_net import against_torch

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
