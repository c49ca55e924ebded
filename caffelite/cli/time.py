"""Measure how long each layer takes, forward and backward, as "caffe time" does."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from caffelite.cli.arguments import add_data, add_gpu, add_python, add_state, add_threads, the_file, the_gpu, whole
from caffelite.cli.preparing import nets_of, prepare_data
from caffelite.cli.processes import add_processes, exit_code_of_processes, in_turn, the_group
from caffelite.cli.progress import compiling
from caffelite.cli.streams import is_quiet
from caffelite.cli.terminal import counted, say, status
from caffelite.gpu.choice import cost
from caffelite.layers.contract.group import Group
from caffelite.net import LayerTime, Net, machine
from caffelite.net.timing import LayerWork
from caffelite.parallel.timing import time_together
from caffelite.parallel.world import MpiGroup
from caffelite.words import TEST, TRAIN

EXAMPLES = """examples:
  caffelite time models/cifar10_bn.prototxt
  caffelite time models/lenet.prototxt --phase TEST --iterations 200
  caffelite time -model models/lenet.prototxt -iterations 10 --json
  caffelite time models/cifar10_bn.prototxt --processes 2

Layers that run as one kernel are one row. Its rate is told against what this machine reaches at most, in arithmetic
or in moving data, whichever it is nearer to. "waited" is the part of a row's time in which the thread that calls had
nothing left to do and waited for the other threads. Waiting for data is part of the forward time of the Data layer, and
is shown in a line of its own.
"""


#: The fields of a layer that are amounts.
_WORK = [field.name for field in fields(LayerWork)]
_UNITS = {"gflops": "GFLOP/s", "gbps": "GB/s"}

#: Columns of the table; of a type, and of a name however little is left for it.
_WIDTH, _TYPE, _NAME = 100, 20, 16


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
    add_threads(parser)
    add_gpu(parser)
    add_python(parser)
    add_processes(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print a table."""
    file = the_file([arguments.file, arguments.model], "the prototxt of a net")
    code = exit_code_of_processes(arguments)
    return _run(file, arguments, the_group(arguments)) if code is None else code


def _run(file: Path, arguments: argparse.Namespace, group: Group) -> int:
    gpu = the_gpu(arguments)
    phase = TEST if arguments.phase == "TEST" else TRAIN
    source = nets_of(file, phase, arguments.level, arguments.stage)[0]
    in_turn(group, lambda: prepare_data([source], arguments.data, say))
    with compiling():
        with status("building the net"):
            build = partial(source._replace(phase=phase).net, weights=arguments.weights, output_root=None, gpu=gpu)
            build = partial(build, allow_python=arguments.allow_python, bn_statistics=arguments.bn_statistics)
            net = in_turn(group, lambda: build(group=group))
        try:
            measured = measure(net, arguments.iterations, backward=phase == TRAIN)
            if isinstance(group, MpiGroup):
                _add_together(measured, net, group, arguments.iterations, phase == TRAIN)
            if gpu is not None:
                # One more pass, the first, was not timed.
                say(cost(gpu, arguments.iterations + 1))
        finally:
            net.close()
    if not is_quiet():
        print(json.dumps(measured) if arguments.json else _table(measured))
    return 0


def _add_together(measured: dict[str, Any], net: Net, group: MpiGroup, iterations: int, backward: bool) -> None:
    """Add to what was measured what the processes take for working together."""
    layers, seconds = time_together(net, group, iterations, backward)
    for layer, together in zip(measured["layers"], layers, strict=True):
        layer["sum_bytes"], layer["sum_waited"] = together.bytes, 1000 * together.waited
    measured["processes"] = group.size
    measured["sum_bytes"] = sum(together.bytes for together in layers)
    measured["sum_waited"] = 1000 * sum(together.waited for together in layers)
    measured["together"] = 1000 * seconds


def measure(net: Net, iterations: int, backward: bool) -> dict[str, Any]:
    """Return milliseconds a pass, and what they are held against: ``docs/command-line.md`` has the fields.

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
    before = _peaks()
    rounds: list[list[LayerTime]] = []
    waited = -_waited(net)
    begun = perf_counter()
    for _ in counted(range(iterations), "timing"):
        rounds.append(net.profile(1, backward))
    total = perf_counter() - begun
    waited += _waited(net)
    # What else runs on the machine slows down one of them rather than both.
    peaks = {unit: max(before[unit], after) for unit, after in _peaks().items()}
    layers = [
        _layer(same, work, backward, peaks) for same, work in zip(zip(*rounds, strict=True), net.work(), strict=True)
    ]
    sums = {key: sum(layer[key] for layer in layers) for key in _WORK}
    scale = 1000 / iterations
    threads = machine.thread_count()
    return {
        "net": net.name,
        "iterations": iterations,
        "threads": threads.number,
        "threads_reason": threads.reason,
        "peak": peaks,
        "layers": layers,
        "forward": scale * sum(times.forward for one in rounds for times in one),
        "backward": scale * sum(times.backward for one in rounds for times in one),
        "total": scale * total,
        "waiting_for_data": scale * waited,
        "waited": scale * sum(times.waited for one in rounds for times in one),
        **sums,
        **_rates(sums, sum(layer["forward"] + layer["backward"] for layer in layers), peaks),
    }


def _peaks() -> dict[str, float]:
    with status("measuring the machine"):
        return {"gflops": machine.arithmetic() / 1e9, "gbps": machine.memory() / 1e9}


def _layer(same: Sequence[LayerTime], work: LayerWork, backward: bool, peaks: dict[str, float]) -> dict[str, Any]:
    """Return what is told of a layer that took these times."""
    times = {
        "forward": 1000 * median(one.forward for one in same),
        "backward": 1000 * median(one.backward for one in same),
    }
    waited = 1000 * median(one.waited for one in same)
    amounts = {key: getattr(work, key) if backward or key.startswith("forward") else 0 for key in _WORK}
    rates = _rates(amounts, sum(times.values()), peaks)
    return {"layer": same[0].name, "type": same[0].type, **times, "waited": waited, **amounts, **rates}


def _rates(amounts: dict[str, int], milliseconds: float, peaks: dict[str, float]) -> dict[str, Any]:
    """Return GFLOP/s, GB/s, which of them is nearer to its peak, and how near; None where nothing is computed."""
    per_second = 1e-6 / milliseconds if milliseconds > 0 else 0.0
    rates = {
        "gflops": 2 * (amounts["forward_multiply_adds"] + amounts["backward_multiply_adds"]) * per_second,
        "gbps": (amounts["forward_bytes"] + amounts["backward_bytes"]) * per_second,
    }
    nearer = max(rates, key=lambda unit: rates[unit] / peaks[unit])
    if not rates[nearer]:
        return {**rates, "limit": None, "of_peak": None}
    return {**rates, "limit": nearer, "of_peak": rates[nearer] / peaks[nearer]}


def _waited(net: Net) -> float:
    return sum(getattr(layer, "waited_seconds", 0.0) for layer in net.layers)


def _table(measured: dict[str, Any]) -> str:
    both = sum(layer["forward"] + layer["backward"] for layer in measured["layers"]) or 1.0
    rows: list[Sequence[str]] = [("layer", "type", "forward", "backward", "waited", "share", "rate", "of peak")]
    for layer in measured["layers"]:
        forward, backward, waited = layer["forward"], layer["backward"], layer["waited"]
        share = f"{100 * (forward + backward) / both:.1f}%"
        rows.append(
            (layer["layer"], layer["type"], f"{forward:.3f}", f"{backward:.3f}", f"{waited:.3f}", share, *_rate(layer))
        )
    if "processes" in measured:
        rows = [(*row, *sums) for row, sums in zip(rows, _sums(measured), strict=True)]
    columns = range(len(rows[0]))
    widths = [max(len(row[i]) for row in rows) for i in columns]
    widths[1] = min(widths[1], _TYPE)
    widths[0] = min(widths[0], max(_WIDTH - sum(widths[1:]) - 2 * len(columns[1:]), _NAME))
    lines = [
        "  ".join(
            [
                *(f"{_shortened(row[i], widths[i]):<{widths[i]}}" for i in (0, 1)),
                *(f"{row[i]:>{widths[i]}}" for i in columns[2:]),
            ]
        ).rstrip()
        for row in rows
    ]
    return "\n".join(
        [
            f"{measured['net']}: milliseconds a pass, median of {measured['iterations']}",
            *lines,
            f"Average Forward pass: {measured['forward']:.3f} ms.",
            f"Average Backward pass: {measured['backward']:.3f} ms.",
            f"Average Forward-Backward: {measured['total']:.3f} ms.",
            f"Waiting for data: {measured['waiting_for_data']:.3f} ms.",
            f"Waiting for other threads: {measured['waited']:.3f} ms.",
            _summary(measured),
            f"Peaks of this machine on {machine.thread_count()}: {_digits(measured['peak']['gflops'])} GFLOP/s, "
            f"{_digits(measured['peak']['gbps'])} GB/s.",
            *_together(measured),
        ]
    )


def _sums(measured: dict[str, Any]) -> list[tuple[str, str]]:
    """Return two columns: what processes add up in each layer, and how long the first has waited for it."""
    layers = measured["layers"]
    return [("summed", "for others"), *((f"{one['sum_bytes']:,}", f"{one['sum_waited']:.3f}") for one in layers)]


def _together(measured: dict[str, Any]) -> list[str]:
    if "processes" not in measured:
        return []
    waited, total = measured["sum_waited"], measured["together"]
    return [
        f"{measured['processes']} processes: a pass {total:.3f} ms, of which {waited:.3f} ms ({waited / total:.0%}) "
        f"waiting for others; {measured['sum_bytes']:,} bytes added up."
    ]


def _summary(measured: dict[str, Any]) -> str:
    number = measured["forward_multiply_adds"] + measured["backward_multiply_adds"]
    of_peak = measured["gflops"] / measured["peak"]["gflops"]
    return f"Multiply-adds a pass: {number:,}, {_digits(measured['gflops'])} GFLOP/s, {100 * of_peak:.0f}% of the peak."


def _rate(layer: dict[str, Any]) -> tuple[str, str]:
    if layer["limit"] is None:
        return "", ""
    return f"{_digits(layer[layer['limit']])} {_UNITS[layer['limit']]}", f"{100 * layer['of_peak']:.0f}%"


def _digits(number: float) -> str:
    """Write a number with three digits, or all there are before the point."""
    return f"{number:.{2 if number < 9.995 else 1 if number < 99.95 else 0}f}"


def _shortened(text: str, most: int) -> str:
    """Leave out the middle of what is too long."""
    if len(text) <= most:
        return text
    return f"{text[: most // 2]}…{text[len(text) - (most - 1) // 2 :]}"
