"""A net with most of what graphs and plans have to deal with: in place, fan-out, a view, two losses."""

import numpy as np

from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TRAIN

INPUT = """name: "n"
layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: 6 dim: 3 dim: 8 dim: 8 } shape { dim: 6 } } }
"""
BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "power" type: "Power" bottom: "conv" top: "power" power_param { power: 2 scale: 0.5 shift: 1 } }
layer { name: "tanh" type: "TanH" bottom: "power" top: "power" }
layer { name: "pool" type: "Pooling" bottom: "power" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "flat" type: "Flatten" bottom: "pool" top: "flat" }
layer { name: "a" type: "InnerProduct" bottom: "flat" top: "a" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "flat" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" bottom: "a" top: "sum" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
layer { name: "loss2" type: "EuclideanLoss" bottom: "a" bottom: "b" top: "loss2" loss_weight: 0.1 }
"""


def make(text: str = BODY, phase: int = TRAIN, **options: object) -> Net:
    net = Net(net_from_text(INPUT + text, "net.prototxt"), phase, **options)  # type: ignore[arg-type]
    rng = np.random.default_rng(10)
    net.blobs["data"].data[...] = rng.standard_normal((6, 3, 8, 8))
    net.blobs["label"].data[...] = rng.integers(0, 5, 6)
    return net
