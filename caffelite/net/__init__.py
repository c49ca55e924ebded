"""Nets: the graph of one phase, its units and their memory, its parameters, and what runs them."""

from caffelite.net.net import Net
from caffelite.net.parameters import Learnable
from caffelite.net.timing import LayerTime

__all__ = ["Learnable", "LayerTime", "Net"]
