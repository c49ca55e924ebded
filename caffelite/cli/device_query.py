"""Tell which GPUs there are and whether they are used, as "caffe device_query" does, and how many threads are used."""

import argparse
import json
from collections.abc import Sequence
from typing import Any

from caffelite.cli.arguments import gpu_numbers
from caffelite.errors import GpuError
from caffelite.gpu.choice import count, find
from caffelite.net import machine

EXAMPLES = """examples:
  caffelite device_query
  caffelite device_query -gpu 0
  caffelite device_query --json
"""

_USE = "BatchNorm layers run on it with --gpu {number}, solver_mode: GPU or set_mode_gpu()"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    parser.add_argument(
        "--gpu", type=gpu_numbers, default=[], metavar="ID", help="numbers of those to tell about (all)"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Find the GPUs and count the threads, and print what they are."""
    threads = machine.thread_count()
    answer = {**query(arguments.gpu), "threads": threads.number, "threads_reason": threads.reason}
    print(json.dumps(answer) if arguments.json else f"{told(answer)}\nCPU: {threads}")
    return 0


def query(asked: Sequence[int] = ()) -> dict[str, Any]:
    """Return what is known of some GPUs, or of all.

    Parameters
    ----------
    asked : sequence of int, optional
        Their numbers; by default all.

    Raises
    ------
    GpuError
        There are GPUs, but none of this number.
    """
    try:
        numbers = range(count())
    except GpuError as error:
        return {"gpus": [], "usable": False, "reason": str(error)}
    for number in asked:
        if number not in numbers:
            find(number)
    gpus = [_one(number) for number in asked or numbers]
    usable = any(gpu["usable"] for gpu in gpus)
    return {"gpus": gpus, "usable": usable, "reason": "" if usable else "none of the GPUs can be used"}


def _one(number: int) -> dict[str, Any]:
    try:
        return {**find(number).facts(), "usable": True, "reason": ""}
    except GpuError as error:
        return {"number": number, "usable": False, "reason": str(error)}


def told(answer: dict[str, Any]) -> str:
    """Return in lines what :func:`query` has found."""
    if not answer["gpus"]:
        return f"No GPU is used: {answer['reason']}; everything runs on the CPU."
    return "\n".join(_lines(gpu) for gpu in answer["gpus"])


def _lines(gpu: dict[str, Any]) -> str:
    number = gpu["number"]
    if not gpu["usable"]:
        return f"GPU {number} is not used: {gpu['reason']}."
    return "\n".join(
        [
            f"GPU {number}: {gpu['name']}",
            f"  compute capability {gpu['compute_capability']}, {gpu['memory'] / 2**30:.1f} GiB, "
            f"{gpu['multiprocessors']} multiprocessors, driver for CUDA {gpu['driver']}",
            f"  {_USE.format(number=number)}",
        ]
    )
