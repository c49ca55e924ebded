"""Options that say what is done to an image before a net reads it."""

import argparse

from caffelite.export.preprocessing import ORDERS, Preprocessing, of_data, with_mean
from caffelite.solvers.sources import NetSource


def add_preprocessing(parser: "argparse.ArgumentParser | argparse._ArgumentGroup") -> None:
    """Add mean, scale and order of channels."""
    add = parser.add_argument
    add("--mean", metavar="B,G,R|FILE", help="mean that the net was trained with (its data layer's): numbers or a file")
    add("--scale", type=float, metavar="X", help="what the difference to the mean is multiplied by (its data layer's)")
    add("--channel-order", type=str.upper, choices=ORDERS, default=ORDERS[0], help="channels that the net takes (BGR)")


def preprocessing_of(arguments: argparse.Namespace, source: NetSource) -> Preprocessing | None:
    """Return what the net's data layer does to images, with what is given in its place; None where neither says it."""
    known = of_data(source.document, source.level, source.stages)
    return with_mean(known, arguments.mean, arguments.scale, arguments.channel_order)
