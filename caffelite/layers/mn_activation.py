"""MnActivation: where Intel's nets change how they are spread over machines."""

from caffelite.layers.base import Layer, layer


@layer("MnActivation")
class MnActivation(Layer):
    """``y = x``, as one machine has nothing to exchange. ``mn_activation_param`` has no effect. intel/caffe."""

    view = True
