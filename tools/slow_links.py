"""Links between processes that are slow on purpose, and what takes note of what goes over them: for ``scaling.py``."""

import math
import statistics
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from bench_mpi import mpiexec
from step_model import Event, Link, ring

from caffelite.layers.contract.group import ALONE, Group, Sum

#: Seconds between two looks for a message: one that waits in MPI would use its core.
_LOOK = 2e-5


class Recorder(Group):
    """A group that takes note of when sums are asked for.

    Parameters
    ----------
    size : int
        Processes there seem to be, where there are no others.
    group : Group, optional
        Others, which do add up: how long the slowest lets the rest wait is part of what a step takes.
    """

    def __init__(self, size: int, group: Group | None = None) -> None:
        self.size, self.rank = (size, 0) if group is None else (group.size, group.rank)
        self._group = group
        self._steps: list[list[Event]] = []
        self._last = 0.0

    def begin(self) -> None:
        """Take note that a step begins."""
        self._steps.append([])
        self._last = time.perf_counter()

    def note(self, kind: str, size: int = 0) -> None:
        """Take note of an event."""
        now = time.perf_counter()
        if self._steps:
            self._steps[-1].append(Event(now - self._last, kind, size))
        self._last = now

    def sum(self, values: np.ndarray) -> None:
        self.note("sum", values.nbytes)
        if self._group is not None:
            self._group.sum(values)

    def start_sum(self, values: np.ndarray) -> "_Noted":
        self.note("start", values.nbytes)
        return _Noted(self, (ALONE if self._group is None else self._group).start_sum(values))

    def join(self) -> None:
        """Take note that sums that were started are waited for now."""
        if self._steps and self._steps[-1] and self._steps[-1][-1].kind != "join":
            self.note("join")

    def seconds(self) -> float:
        """Return the median of what a step took."""
        return statistics.median(sum(event.seconds for event in one) for one in self._steps)

    def events(self) -> list[Event]:
        """Return the median of the steps, event by event."""
        kinds = [tuple((event.kind, event.size) for event in one) for one in self._steps]
        usual = statistics.mode(kinds)
        steps = [one for one, kind in zip(self._steps, kinds, strict=True) if kind == usual]
        return [Event(statistics.median(one[i].seconds for one in steps), *what) for i, what in enumerate(usual)]


class _Noted:
    """A sum of a Recorder."""

    def __init__(self, recorder: Recorder, of: Sum) -> None:
        self._recorder, self._of = recorder, of

    def done(self) -> bool:
        return self._of.done()

    def wait(self) -> None:
        self._recorder.join()
        self._of.wait()


class SlowGroup(Group):
    """Processes of MPI whose sums are there not sooner than a ring over a slow link would have them.

    The clock is one for all processes of a machine. A sum begins when the last process has asked for it and the link is
    free of the one before, and takes what :func:`ring` says.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    link : Link
    """

    def __init__(self, comm: Any, link: Link) -> None:
        self.size, self.rank = comm.size, comm.rank
        self.comm, self._link = comm, link
        #: When the link is free, on all processes the same.
        self._free = 0.0
        #: Those sums of which that is not known yet.
        self._asked: deque[_SlowSum] = deque()

    def sum(self, values: np.ndarray) -> None:
        self.start_sum(values).wait()

    def start_sum(self, values: np.ndarray) -> "_SlowSum":
        self._asked.append(_SlowSum(self, values))
        return self._asked[-1]

    def look(self) -> None:
        """Say of sums, in the order in which they were asked for, when they are there."""
        while self._asked and (begun := self._asked[0].begun()) is not None:
            one = self._asked.popleft()
            one.due = self._free = max(self._free, begun) + ring(self.size, one.size, self._link)


class _SlowSum:
    """A sum of a SlowGroup.

    Attributes
    ----------
    size : int
        Bytes.
    due : float
        When it is there; infinite while that is not known.
    """

    def __init__(self, group: SlowGroup, values: np.ndarray) -> None:
        from mpi4py import MPI

        self.size, self.due = values.nbytes, math.inf
        self._group = group
        self._begun = np.array([time.perf_counter()])
        self._requests = [
            group.comm.Iallreduce(MPI.IN_PLACE, values),
            group.comm.Iallreduce(MPI.IN_PLACE, self._begun, MPI.MAX),
        ]

    def begun(self) -> float | None:
        """Return when the last process asked for it, once that is known."""
        return float(self._begun[0]) if all([request.Test() for request in self._requests]) else None

    def done(self) -> bool:
        self._group.look()
        return time.perf_counter() >= self.due

    def wait(self) -> None:
        while not self.done():
            left = self.due - time.perf_counter()
            time.sleep(left if 4 * _LOOK < left < math.inf else _LOOK)


def measured_link(group: Group) -> Link:
    """Return the link by how long sums of little and of much take, around the ring."""
    seconds = []
    for count in (1, 1 << 20):
        values, times = np.zeros(count, np.float32), []
        for _ in range(10):
            start = time.perf_counter()
            group.sum(values)
            times.append(time.perf_counter() - start)
        seconds.append(statistics.median(times))
    n = group.size
    alpha = seconds[0] / (2 * (n - 1))
    return Link(alpha, (4 << 20) / n / max(seconds[1] / (2 * (n - 1)) - alpha, 1e-9))


_NAMES, _ADDRESSES = ("scaling0", "scaling1"), ("10.98.76.1", "10.98.76.2")
#: Until a device is up, it is not there for MPI.
_SECONDS_TO_COME_UP = 2.0
#: Is called as ssh is: the process is started in the namespace with this address, and sends by TCP.
_LAUNCHER = """#!/bin/sh
while case "$1" in -*) true;; *) false;; esac; do shift; done
case "$1" in {0}) name={2};; *) name={3};; esac
shift
exec ip netns exec $name env UCX_TLS=tcp,self UCX_NET_DEVICES=$name sh -c "$*"
"""


@contextmanager
def namespaces_joined(gbit: float) -> Iterator[list[str]]:
    """Make two network namespaces that a pair of veth devices joins; give what launches a process in each (root)."""

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "launch")
        script.write_text(_LAUNCHER.format(*_ADDRESSES, *_NAMES))
        script.chmod(0o755)
        try:
            for name in _NAMES:
                ip("netns", "add", name)
            ip("link", "add", _NAMES[0], "netns", _NAMES[0], "type", "veth", "peer", _NAMES[1], "netns", _NAMES[1])
            for name, address in zip(_NAMES, _ADDRESSES, strict=True):
                ip("-n", name, "addr", "add", f"{address}/24", "dev", name)
                for device in (name, "lo"):
                    ip("-n", name, "link", "set", device, "up")
                if gbit:
                    rate = f"rate {gbit * 1e3:.0f}mbit burst 256kb latency 50ms".split()
                    subprocess.run(["tc", "-n", name, "qdisc", "add", "dev", name, "root", "tbf", *rate], check=True)
            time.sleep(_SECONDS_TO_COME_UP)
            hydra = ["-launcher", "ssh", "-launcher-exec", str(script), "-hosts", ",".join(_ADDRESSES)]
            hydra += ["-iface", _NAMES[0], "-n", "2", "-ppn", "1", "-genv", "MPIR_CVAR_NOLOCAL", "1"]
            yield ["ip", "netns", "exec", _NAMES[0], mpiexec(), *hydra]
        finally:
            for name in _NAMES:
                subprocess.run(["ip", "netns", "del", name], capture_output=True)
