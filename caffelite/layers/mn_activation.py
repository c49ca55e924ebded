"""MnActivation: where Intel's nets change how they are spread over machines."""

from caffelite.layers.base import Layer, layer


@layer("MnActivation")
class MnActivation(Layer):
    """``y = x``: on one machine there is nothing to exchange. ``mn_activation_param`` is not read. intel/caffe."""

    view = True
