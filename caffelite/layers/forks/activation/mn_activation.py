"""MnActivation: where Intel's nets change how they are spread over machines."""

from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer


@layer("MnActivation")
class MnActivation(Layer):
    """``y = x``: on one machine there is nothing to exchange. ``mn_activation_param`` is not read. intel/caffe."""

    facts = Facts(view=True, kind="activation", deploy="identity")
