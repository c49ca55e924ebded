"""Functions behind batch normalization, for kernels on a GPU, and their derivatives."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import cuda


@cuda.jit(device=True)
def _relu(z, slope):
    return z if z > np.float32(0) else slope * z


@cuda.jit(device=True)
def _relu_derivative(z, slope):
    return np.float32(1) if z > np.float32(0) else slope


@cuda.jit(device=True)
def _sigmoid(z, slope):
    # What is below is 0 as well; and Python, which the simulator calculates with, has no infinite result.
    return np.float32(1) / (np.float32(1) + np.float32(math.exp(min(-z, np.float32(80)))))


@cuda.jit(device=True)
def _sigmoid_derivative(z, slope):
    y = _sigmoid(z, slope)
    return y * (np.float32(1) - y)


#: ``value(z, slope)`` and ``derivative(z, slope)``, both from what goes into the function. No function at all is a
#: ReLU whose negative slope is 1.
ACTIVATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "ReLU": (_relu, _relu_derivative),
    "Sigmoid": (_sigmoid, _sigmoid_derivative),
}
