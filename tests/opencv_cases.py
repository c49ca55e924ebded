"""What caffelite.dnn and OpenCV are both given: nets, weights, images, boxes. ``dnn/record_opencv.py`` keeps OpenCV's answers."""

from pathlib import Path
from typing import Any

import numpy as np

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST


def layer(name: str, kind: str, bottoms: str, tops: str, settings: str = "") -> str:
    ends = "".join(f' bottom: "{b}"' for b in bottoms.split()) + "".join(f' top: "{t}"' for t in tops.split())
    return f'layer {{ name: "{name}" type: "{kind}"{ends} {settings} }}\n'


def convolution(name: str, bottom: str, top: str, outputs: int, size: int) -> str:
    settings = f"convolution_param {{ num_output: {outputs} kernel_size: {size} pad: {size // 2} }}"
    return layer(name, "Convolution", bottom, top, settings)


def data(height: int, width: int) -> str:
    return f'name: "n" input: "data" input_dim: 1 input_dim: 3 input_dim: {height} input_dim: {width}\n'


#: Scores, behind layers that work in place and one with two tops; names of blobs are other than those of layers.
SCORES = (
    data(8, 6)
    + convolution("conv1", "data", "c1", 4, 3)
    + layer("relu1", "ReLU", "c1", "c1")
    + layer("drop", "Dropout", "c1", "c1")
    + layer("slice", "Slice", "c1", "s1 s2", "slice_param { axis: 1 }")
    + layer("pool", "Pooling", "s1", "pool", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
    + layer("fc", "InnerProduct", "s2", "score", "inner_product_param { num_output: 5 }")
    + layer("prob", "Softmax", "score", "p")
)
#: A map for images of any size.
MAP = (
    data(8, 6)
    + convolution("conv1", "data", "c1", 4, 3)
    + layer("bn", "BatchNorm", "c1", "c1")
    + layer("scale", "Scale", "c1", "c1", "scale_param { bias_term: true }")
    + layer("relu1", "ReLU", "c1", "c1")
    + convolution("conv2", "c1", "map", 3, 1)
)
_FLAT = "flatten_param { axis: 1 }"
_LAST = "permute_param { order: 0 order: 2 order: 3 order: 1 }"
#: Detections of 4 classes.
SSD = (
    data(8, 8)
    + convolution("loc", "data", "loc", 12, 3)
    + layer("loc_perm", "Permute", "loc", "loc_perm", _LAST)
    + layer("loc_flat", "Flatten", "loc_perm", "loc_flat", _FLAT)
    + convolution("conf", "data", "conf", 12, 3)
    + layer("conf_perm", "Permute", "conf", "conf_perm", _LAST)
    + layer("conf_reshape", "Reshape", "conf_perm", "conf_reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 4 } }")
    + layer("conf_softmax", "Softmax", "conf_reshape", "conf_softmax", "softmax_param { axis: 2 }")
    + layer("conf_flat", "Flatten", "conf_softmax", "conf_flat", _FLAT)
    + layer(
        "prior",
        "PriorBox",
        "loc data",
        "prior",
        "prior_box_param { min_size: 3 aspect_ratio: 2 flip: true clip: false variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2 }",
    )
    + layer(
        "detection_out",
        "DetectionOutput",
        "loc_flat conf_flat prior",
        "detection_out",
        "detection_output_param { num_classes: 4 share_location: true background_label_id: 0 nms_param { nms_threshold: 0.45 top_k: 50 } code_type: CENTER_SIZE "
        "keep_top_k: 60 confidence_threshold: 0.5 }",
    )
)
NETS = {"scores": SCORES, "map": MAP, "ssd": SSD}
#: The inputs of each: the second has another number of images, and where that can be another size.
SHAPES = {
    "scores": [(1, 3, 8, 6), (2, 3, 8, 6)],
    "map": [(1, 3, 8, 6), (2, 3, 5, 7)],
    "ssd": [(1, 3, 8, 8), (2, 3, 8, 8)],
}


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def write(name: str, folder: Path) -> tuple[str, str]:
    """Write a net and its weights; return their paths."""
    prototxt, model = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
    prototxt.write_text(NETS[name])
    net, numbers = Net(net_from_text(NETS[name]), TEST, learn=False), rng()
    for one in net.layers:
        for index, blob in enumerate(one.blobs):
            drawn = (
                numbers.uniform(0.5, 1.5, blob.shape) if one.type == "BatchNorm" else numbers.normal(0, 0.5, blob.shape)
            )
            blob.data[...] = 1 if one.type == "BatchNorm" and index == 2 else drawn
    net.save(model)
    return str(prototxt), str(model)


def inputs(name: str) -> list[np.ndarray]:
    numbers = rng()
    return [numbers.standard_normal(shape).astype(np.float32) for shape in SHAPES[name]]


def image(*shape: int) -> np.ndarray:
    return rng().integers(0, 256, shape, np.uint8)


#: name -> image, arguments of blobFromImage
BLOBS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "as it is": (image(6, 5, 3), {}),
    "scaled": (image(6, 5, 3), {"scalefactor": 0.017, "mean": (103.94, 116.78, 123.68), "swapRB": True}),
    "one mean": (image(6, 5, 3), {"mean": 127.5}),
    "smaller": (image(31, 23, 3), {"scalefactor": 1 / 128, "size": (9, 7), "mean": (1, 2, 3)}),
    "larger": (image(9, 7, 3), {"size": (12, 15), "swapRB": True}),
    "cut": (image(31, 23, 3), {"size": (11, 11), "crop": True}),
    "cut, wide": (image(13, 29, 3), {"size": (7, 9), "crop": True, "mean": (10, 20, 30), "scalefactor": 0.5}),
    "grey": (image(31, 23), {"size": (9, 7), "mean": (8, 2, 3), "swapRB": True}),
    "four channels": (image(31, 23, 4), {"size": (9, 7), "mean": (1, 2, 3, 4), "swapRB": True}),
    "bytes": (image(31, 23, 3), {"size": (9, 7), "ddepth": 0, "swapRB": True}),
    "floats": (image(31, 23, 3).astype(np.float32) / 3, {"size": (9, 7), "mean": (1, 2, 3)}),
    "doubles": (image(6, 5, 3) / 3, {"mean": (1, 2, 3), "scalefactor": 0.3}),
}
#: Arguments of Image2BlobParams, beside a picture of 31 x 23.
PARAMS: dict[str, tuple[Any, ...]] = {
    "letterbox": ((0.5, 0.25, 2.0, 1.0), (12, 9), (1.0, 2.0, 3.0), True, 5, 2, 2, (114.0, 114.4, 7.0)),
    "channels last": ((0.5, 0.25, 2.0, 1.0), (12, 9), (1.0, 2.0, 3.0), True, 5, 4, 0),
    "cut": ((1.0,) * 4, (9, 9), (0.0,), False, 5, 2, 1),
}


def boxes(count: int) -> tuple[list[list[float]], list[float], list[int]]:
    """Return boxes on a grid, where shares in common meet a threshold exactly, their scores, some alike, and classes."""
    numbers = rng()
    corners = numbers.integers(0, 10, (count, 4)).astype(float).tolist()
    return corners, np.round(numbers.random(count), 1).tolist(), numbers.integers(0, 3, count).tolist()


#: score_threshold, nms_threshold, eta, top_k
THRESHOLDS = [(0.0, 0.5, 1.0, 0), (0.3, 0.25, 1.0, 0), (0.1, 0.75, 0.8, 0), (0.2, 0.5, 1.0, 7), (0.95, 0.5, 1.0, 0)]
