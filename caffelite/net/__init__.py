"""Nets: the graph of one phase, its plan, its parameters, and what runs them."""

from caffelite.net.net import LayerTime, Learnable, Net

__all__ = ["Learnable", "LayerTime", "Net"]
