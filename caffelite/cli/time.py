"""Measure how long each layer takes, forward and backward, as "caffe time" does."""

import argparse
import json
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from caffelite.cli.arguments import add_data, add_gpu, add_python, add_state, say_cpu, the_file, whole
from caffelite.cli.preparing import nets_of, prepare_data
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import counted, say, status
from caffelite.layers.base import TEST, TRAIN
from caffelite.net import LayerTime, Net

EXAMPLES = """examples:
  caffelite time models/cifar10_bn.prototxt
  caffelite time models/lenet.prototxt --phase TEST --iterations 200
  caffelite time -model models/lenet.prototxt -iterations 10 --json

Layers that run as one kernel are one row. Waiting for data is part of the forward time of the Data layer, and
is shown in a line of its own.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", nargs="?", metavar="NET", help="prototxt of a net, or of a solver that names one")
    add("--model", metavar="NET", help="the same, as Caffe has it")
    add("--iterations", type=whole, default=50, metavar="N", help="number of passes (50)")
    add(
        "--phase",
        type=str.upper,
        choices=("TRAIN", "TEST"),
        default="TRAIN",
        help="phase of the net (TRAIN); in TEST there is no backward pass",
    )
    add("--weights", metavar="FILE", help="weights to run with")
    add("--json", action="store_true", help="print the result as JSON")
    add_data(parser)
    add_state(parser)
    add_gpu(parser)
    add_python(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print a table."""
    file = the_file([arguments.file, arguments.model], "the prototxt of a net")
    say_cpu(arguments)
    phase = TEST if arguments.phase == "TEST" else TRAIN
    source = nets_of(file, phase, arguments.level, arguments.stage)[0]
    prepare_data([source], arguments.data, say)
    with compiling():
        with status("building the net"):
            net = Net(
                source.document,
                phase,
                level=source.level,
                stages=source.stages,
                weights=arguments.weights,
                allow_python=arguments.allow_python,
            )
        try:
            found = measure(net, arguments.iterations, backward=phase == TRAIN)
        finally:
            net.close()
    print(json.dumps(found) if arguments.json else _table(found))
    return 0


def measure(net: Net, iterations: int, backward: bool) -> dict[str, Any]:
    """Return milliseconds a pass: of each layer, of all of them, and of waiting for data.

    Parameters
    ----------
    net : Net
    iterations : int
    backward : bool
        Whether to run backward too.
    """
    # The first pass compiles what has not been compiled before, and starts threads.
    net.forward()
    if backward:
        net.backward()
    rounds: list[list[LayerTime]] = []
    waited = -_waited(net)
    begun = perf_counter()
    for _ in counted(range(iterations), "timing"):
        rounds.append(net.profile(1, backward))
    total = perf_counter() - begun
    waited += _waited(net)
    scale = 1000 / iterations
    layers = [
        {
            "layer": same[0].name,
            "type": same[0].type,
            "forward": scale * sum(times.forward for times in same),
            "backward": scale * sum(times.backward for times in same),
        }
        for same in zip(*rounds, strict=True)
    ]
    return {
        "net": net.name,
        "iterations": iterations,
        "layers": layers,
        "forward": scale * sum(times.forward for one in rounds for times in one),
        "backward": scale * sum(times.backward for one in rounds for times in one),
        "total": scale * total,
        "waiting_for_data": scale * waited,
    }


def _waited(net: Net) -> float:
    return sum(getattr(layer, "waited_seconds", 0.0) for layer in net.layers)


def _table(found: dict[str, Any]) -> str:
    both = found["forward"] + found["backward"] or 1.0
    rows: list[Sequence[str]] = [("layer", "type", "forward", "backward", "share")]
    for layer in found["layers"]:
        forward, backward = layer["forward"], layer["backward"]
        share = f"{100 * (forward + backward) / both:.1f}%"
        rows.append((layer["layer"], layer["type"], f"{forward:.3f}", f"{backward:.3f}", share))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  " + "  ".join(f"{row[i]:>{widths[i]}}" for i in (2, 3, 4))
        for row in rows
    ]
    return "\n".join(
        [
            f"{found['net']}: milliseconds a pass, mean of {found['iterations']}",
            *lines,
            f"Average Forward pass: {found['forward']:.3f} ms.",
            f"Average Backward pass: {found['backward']:.3f} ms.",
            f"Average Forward-Backward: {found['total']:.3f} ms.",
            f"Waiting for data: {found['waiting_for_data']:.3f} ms.",
        ]
    )
