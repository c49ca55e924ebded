"""A small net and the six solvers, for runs that several processes make and one."""

from typing import Any

import numpy as np

from caffelite.layers.contract.group import Group
from caffelite.net.statistics import average_statistics
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver

BATCH = 5
#: Five records, which two to four processes cannot share alike; the parameters of one layer are used twice.
NET = f"""
name: "small"
layer {{ name: "data" type: "DummyData" top: "x" top: "t" dummy_data_param {{
  shape {{ dim: {BATCH} dim: 2 dim: 4 dim: 4 }} shape {{ dim: {BATCH} dim: 3 }}
  data_filler {{ type: "gaussian" }} data_filler {{ type: "uniform" }} }} }}
layer {{ name: "conv" type: "Convolution" bottom: "x" top: "c"
  convolution_param {{ num_output: 3 kernel_size: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "ip1" type: "InnerProduct" bottom: "c" top: "h" param {{ name: "w" }} param {{ name: "b" }}
  inner_product_param {{ num_output: 12 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "h" top: "h" }}
layer {{ name: "ip2" type: "InnerProduct" bottom: "h" top: "g" param {{ name: "w" }} param {{ name: "b" }}
  inner_product_param {{ num_output: 12 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "ip3" type: "InnerProduct" bottom: "g" top: "y"
  inner_product_param {{ num_output: 3 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "y" bottom: "t" top: "loss" }}
"""
RULES = {
    "SGD": "momentum: 0.9 weight_decay: 0.01",
    "Nesterov": "momentum: 0.9 iter_size: 2",
    "AdaGrad": "clip_gradients: 0.1",
    "RMSProp": "rms_decay: 0.9",
    "AdaDelta": "momentum: 0.9 base_lr: 1",
    "Adam": "momentum: 0.9 clip_gradients: 0.5 iter_size: 3 delta: 0.001",
}


def make(group: Group, settings: str = RULES["SGD"], net: str = NET, **options: Any) -> Solver:
    rate = "" if "base_lr" in settings else "base_lr: 0.05"
    text = f'net_param {{ {net} }} {rate} lr_policy: "fixed" {settings}'
    return Solver(parse_text(text, messages.SolverParameter, "s.prototxt"), Listener(), group=group, **options)


#: BatchNorm behind a convolution without a bias, whose gradient would be nothing but rounding there.
NORMALIZED = NET.replace("kernel_size: 3", "kernel_size: 3 bias_term: false").replace(
    'layer { name: "ip1"', 'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" } layer { name: "ip1"'
)


def trained(group: Group, rule: str, statistics: str) -> np.ndarray:
    """Train a net with BatchNorm by one of the solvers; return all parameters, its statistics among them."""
    solver = make(group, f'type: "{rule}" {RULES[rule]}', NORMALIZED, bn_statistics=statistics)
    solver.step(4)
    average_statistics(solver.net, group)
    return np.concatenate([blob.data.reshape(-1) for blobs in solver.net.params.values() for blob in blobs])
