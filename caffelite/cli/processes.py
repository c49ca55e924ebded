"""Commands that several processes work on: started by an MPI launcher, or by ``--processes``."""

import argparse
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from caffelite.cli.arguments import UsageError, whole
from caffelite.cli.streams import be_quiet
from caffelite.layers.contract.group import ALONE, Group
from caffelite.parallel.ends import joining
from caffelite.parallel.halves import HALVES
from caffelite.parallel.launcher import launched
from caffelite.parallel.local import attach, run_processes
from caffelite.parallel.world import MpiGroup, join

_T = TypeVar("_T")


def add_processes(parser: argparse.ArgumentParser) -> None:
    """Add how many processes work on a command, and how they add up."""
    parser.add_argument(
        "--processes",
        type=whole,
        metavar="N",
        help="start so many processes on this machine, under mpiexec (1, or as many as a launcher has started)",
    )
    parser.add_argument(
        "--reduce-in",
        choices=HALVES,
        help="round gradients to 16 bits on their way between processes: half the bytes (float32)",
    )
    parser.add_argument(
        "--bn-statistics",
        choices=("batch", "process"),
        default="batch",
        help="whose statistics BatchNorm normalises with: those of the batch of all processes, or each with those of "
        "its own images (batch)",
    )


def exit_code_of_processes(arguments: argparse.Namespace) -> int | None:
    """Run the command in the processes that it asks for; None where this process is to work on it itself.

    Raises
    ------
    UsageError
        A launcher has started other processes than it asks for.
    MissingExtraError, ParallelError
        See :func:`caffelite.parallel.local.run_processes`.
    """
    asked, place = arguments.processes, launched()
    if place is not None:
        if asked not in (None, place.size):
            raise UsageError(f"--processes {asked}: a launcher has started {place.size} already; leave one of them out")
        return None
    if asked in (None, 1):
        return None
    return run_processes(asked, arguments.command_line)


def the_group(arguments: argparse.Namespace) -> Group:
    """Return the processes that a launcher has started with this one, or this one alone; only the first tells anything.

    Raises
    ------
    MissingExtraError, ParallelError
        See :func:`caffelite.parallel.world.join`.
    """
    place = launched()
    if place is None:
        return ALONE
    joining(attach(place.rank))
    group = join(place, arguments.reduce_in)
    if group.rank:
        be_quiet()
    return group


def in_turn(group: Group, work: Callable[[], _T]) -> _T:
    """Do what leaves files behind that other processes then find, see :meth:`.MpiGroup.in_turn`."""
    return group.in_turn(work) if isinstance(group, MpiGroup) else work()


def seconds_waited(group: Group) -> float:
    """Return how long this process has waited for others."""
    return group.waited if isinstance(group, MpiGroup) else 0.0


def largest(group: Group, value: int) -> int:
    """Return the largest of the values of all processes, each of which comes here."""
    values = np.zeros(group.size)
    values[group.rank] = value
    group.sum(values)
    return int(values.max())
