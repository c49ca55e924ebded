"""How training grows with the number of processes: a model of the time of a step, and what is measured beside it.

A step is what one process computes on its piece of the batch, with sums over all processes in it: some that it waits
for (of the loss, of BatchNorm) and some that go on while backward does (of gradients). A sum of m bytes over n
processes takes, where a message takes alpha seconds and m / beta more::

    ring: 2 (n - 1) (alpha + m / (n beta))         tree: 2 ceil(log2 n) (alpha + m / beta)

``check`` trains an example net over a slow link that is made here: sums are held back until a ring of messages would
have brought them over a link of that delay and rate. The model gets what a step takes with as many processes where sums
cost next to nothing, and the link as it is measured; its prediction stands beside the time that was measured.

``predict`` says for how many processes it pays, by what a step of a net computes here and links as they are told.

Source: Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH", 2005.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_mpi import mpiexec, solver_of
from turns import machine

from caffelite.layers.contract.group import ALONE, Group, Sum

MODELS = Path(__file__).resolve().parent.parent / "models"
#: Seconds between two looks for a message: one that waits in MPI would use its core.
_LOOK = 2e-5


@dataclass(frozen=True)
class Link:
    """What a message costs.

    Attributes
    ----------
    alpha : float
        Seconds that one without content takes.
    beta : float
        Bytes a second.
    """

    alpha: float
    beta: float

    def __str__(self) -> str:
        return f"{self.alpha * 1e6:.0f} us, {self.beta * 8e-9:.3g} Gbit/s"


def ring(n: int, size: float, link: Link) -> float:
    """Return the seconds of a sum of ``size`` bytes around a ring of n processes."""
    return 2 * (n - 1) * (link.alpha + size / (n * link.beta)) if n > 1 else 0.0


def tree(n: int, size: float, link: Link) -> float:
    """Return the seconds of a sum of ``size`` bytes up and down a binary tree of n processes."""
    return 2 * math.ceil(math.log2(n)) * (link.alpha + size / link.beta) if n > 1 else 0.0


def best(n: int, size: float, link: Link) -> float:
    """Return the seconds of the faster one, as libraries of MPI choose it."""
    return min(ring(n, size, link), tree(n, size, link))


#: Processes of a machine, and the link between them (shared memory), where sums are made in two levels.
_OF_A_MACHINE, _INSIDE = 8, Link(2e-6, 5e9)


def two_levels(n: int, size: float, link: Link) -> float:
    """Return the seconds of a sum inside machines of 8 processes, then over the machines."""
    inside = min(n, _OF_A_MACHINE)
    return ring(inside, size, _INSIDE) + best(n // inside, size, link)


@dataclass(frozen=True)
class Event:
    """Something of a step that has to do with other processes.

    Attributes
    ----------
    seconds : float
        What was computed since the last one, or since the step began.
    kind : {"sum", "start", "join", "end"}
        A sum that is waited for, one that is started, the wait for all those, the end of the step.
    size : int
        Bytes of the sum.
    """

    seconds: float
    kind: str
    size: int = 0


def step_time(
    events: list[Event], n: int, link: Link, cost: Callable[[int, float, Link], float], half: bool = False
) -> float:
    """Return the seconds of a step.

    Parameters
    ----------
    events : list of Event
        Of one process.
    n : int
        Processes.
    link : Link
    cost : callable
        :func:`ring`, :func:`tree` or :func:`best`.
    half : bool, optional
        Whether gradients are sent in two bytes.
    """
    now = free = 0.0
    for event in events:
        now += event.seconds
        if event.kind in ("sum", "start"):
            # One sum after the other: they share the link.
            size = event.size / 2 if half and event.kind == "start" else event.size
            free = max(free, now) + cost(n, size, link)
        if event.kind in ("sum", "join"):
            now = max(now, free)
    return now


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


def steps_of(name: str, group: Group, steps: int) -> tuple[list[Event], float]:
    """Return the events of a step of an example net with a group, and the seconds that it takes."""
    recorder = Recorder(group.size, group)
    solver = solver_of(name, group=recorder)
    solver.step(3)
    for _ in range(steps):
        recorder.begin()
        solver.step(1)
        recorder.note("end")
    solver.close()
    return recorder.events(), recorder.seconds()


def child(name: str, alpha: float, beta: float, steps: int) -> None:
    """Be one of the processes: measure a step, and, over a link that is slowed down, the link and another step.

    Without a rate the link is what it is. The first process tells.
    """
    from mpi4py import MPI

    from caffelite.parallel.world import MpiGroup

    comm = MPI.COMM_WORLD
    group: Group = MpiGroup(comm)
    events, seconds = steps_of(name, group, steps)
    if beta:
        group = SlowGroup(comm, Link(alpha, beta))
        _, seconds = steps_of(name, group, steps)
    link = measured_link(group)
    if comm.rank == 0:
        print(json.dumps({"link": asdict(link), "events": [asdict(e) for e in events], "seconds": seconds}))


def run_child(launcher: list[str], name: str, link: Link, steps: int, folder: str) -> tuple[Link, list[Event], float]:
    """Run the processes; return the link, the events of a step and the seconds it takes over that link."""
    command = [*launcher, sys.executable, __file__, "child", name, str(link.alpha), str(link.beta), str(steps)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    told = json.loads(done.stdout)
    return Link(**told["link"]), [Event(**event) for event in told["events"]], told["seconds"]


@contextmanager
def records(name: str) -> Iterator[str]:
    """Give a folder in which the records of an example net are, and what it needs is compiled."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "models").symlink_to(MODELS)
        command = [sys.executable, "-m", "caffelite", "train", f"models/{name}_solver.prototxt", "--iterations", "1"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        yield folder


def tell(name: str, n: int, link: Link, events: list[Event], seconds: float) -> None:
    """Print what is predicted beside what was measured."""
    computed, predicted = sum(event.seconds for event in events), step_time(events, n, link, ring)
    print(
        f"{name:14s} {n} processes, {str(link):20s} {computed * 1e3:6.1f} ms without it, predicted "
        f"{predicted * 1e3:6.1f}, measured {seconds * 1e3:6.1f}: {predicted / seconds - 1:+.0%}",
        flush=True,
    )


def check(options: argparse.Namespace) -> None:
    """Hold the model against steps over links that are slowed down."""
    for name in options.nets:
        with records(name) as folder:
            for n in options.processes:
                for alpha in options.alpha:
                    for gbit in options.gbit:
                        slow, launcher = Link(alpha, gbit * 1e9 / 8), [mpiexec(), "-n", str(n)]
                        tell(name, n, *run_child(launcher, name, slow, options.steps, folder))
    print(machine(1))


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


def namespaces(options: argparse.Namespace) -> None:
    """Hold the model against steps of two processes that TCP joins, over network namespaces (root; MPICH's wheel)."""
    as_it_is = Link(0, 0)
    for name in options.nets:
        with records(name) as folder:
            _, events, _ = run_child([mpiexec(), "-n", "2"], name, as_it_is, options.steps, folder)
            for gbit in options.rates:
                with namespaces_joined(gbit) as launcher:
                    link, _, seconds = run_child(launcher, name, as_it_is, options.steps, folder)
                tell(name, 2, link, events, seconds)
    print(machine(1))


def training_net(file: Path, images: int, shape: tuple[int, int, int]) -> Any:
    """Return the message of a net that trains on numbers that it makes itself, of a file to train or to deploy."""
    from caffelite.schema.text import read_net

    net = read_net(file).message
    top = {"data": "data", "label": "label"}
    for layer in [*net.layer]:
        if layer.type in ("Data", "ImageData", "Input", "MemoryData"):
            names = [*layer.top]
            top = dict(zip(("data", "label"), [*names, "label"][:2], strict=True))
            net.layer.remove(layer)
        elif layer.type == "Softmax":
            # A file to deploy.
            layer.type, layer.name = "SoftmaxWithLoss", "loss"
            layer.bottom.append(top["label"])
            layer.top[:] = ["loss"]
        elif layer.type == "BatchNorm":
            layer.batch_norm_param.ClearField("use_global_stats")
    for field in ("input", "input_shape", "input_dim"):
        net.ClearField(field)
    source = net.layer.add(name="data", type="DummyData", top=[top["data"], top["label"]])
    for size in ((images, *shape), (images,)):
        source.dummy_data_param.shape.add(dim=size)
    source.dummy_data_param.data_filler.add(type="constant", value=0.5)
    source.dummy_data_param.data_filler.add(type="constant", value=1)
    layers = [net.layer[-1], *net.layer[:-1]]
    kept = [type(layer).FromString(layer.SerializeToString()) for layer in layers]
    del net.layer[:]
    net.layer.extend(kept)
    return net


def events_of(file: Path, images: int, shape: tuple[int, int, int], steps: int) -> list[Event]:
    """Return the events of a step of a net on so many images, with all threads of this machine."""
    from caffelite.schema.messages import SolverParameter
    from caffelite.solvers.logs import Listener
    from caffelite.solvers.solver import Solver

    param = SolverParameter(base_lr=1e-6, lr_policy="fixed", max_iter=1, type="SGD", momentum=0.9)
    param.net_param.CopyFrom(training_net(file, 2 * images, shape))
    recorder = Recorder(2)
    solver = Solver(param, Listener(), group=recorder, non_finite="ignore")
    solver.step(2)
    for _ in range(steps):
        recorder.begin()
        solver.step(1)
        recorder.note("end")
    solver.close()
    return recorder.events()


def on_images(few: tuple[int, list[Event]], many: tuple[int, list[Event]], images: float) -> list[Event]:
    """Return the events of a step on another number of images, along the line through two that were measured."""
    result = []
    for a, b in zip(few[1], many[1], strict=True):
        slope = max(b.seconds - a.seconds, 0.0) / (many[0] - few[0])
        result.append(Event(max(a.seconds + slope * (images - few[0]), 0.0), a.kind, a.size))
    return result


def predict(options: argparse.Namespace) -> None:
    """Say for how many processes a net pays."""
    few, many = options.images
    measured = [(images, events_of(options.net, images, options.shape, options.steps)) for images in (few, many)]
    seconds = [sum(event.seconds for event in events) for _, events in measured]
    sizes = [event.size for event in measured[0][1] if event.kind == "start"]
    waits = sum(event.kind == "sum" for event in measured[0][1])
    print(
        f"{options.net}: {few} images {seconds[0] * 1e3:.0f} ms, {many} images {seconds[1] * 1e3:.0f} ms; "
        f"{sum(sizes) / 1e6:.1f} MB of gradients in {len(sizes)} sums, {waits} sums that are waited for; {machine(0)}"
    )
    counts = [2**k for k in range(1, 11)]
    alone = step_time(on_images(*measured, options.batch), 1, Link(0, 1), best)
    rows = {}
    for alpha in options.alpha:
        for gbit in options.gbit:
            link = Link(alpha, gbit * 1e9 / 8)
            ways = {
                "the same batch": (1, False, best),
                "in half precision": (1, True, best),
                "in two levels": (1, False, two_levels),
                "4 times the batch": (4, False, best),
                "a batch a process": (0, False, best),
            }
            for way, (factor, half, cost) in ways.items():
                speedups = []
                for n in counts:
                    images = options.batch if factor == 0 else factor * options.batch / n
                    if images < 1:
                        break
                    events = on_images(*measured, images)
                    rate = images * n / step_time(events, n, link, cost, half)
                    speedups.append(rate / (options.batch / alone))
                rows[f"{link}, {way}"] = speedups
                text = " ".join(f"{speedup:6.1f}" for speedup in speedups)
                print(f"{str(link):18s} {way:18s} {text}")
    if options.plot:
        _plot(options.plot, f"{options.net.stem}, batch {options.batch}", counts, rows)


def _plot(path: Path, title: str, counts: list[int], rows: dict[str, list[float]]) -> None:
    """Draw how many times as fast, against processes; a panel for each way."""
    from caffelite.draw.plots import COLOURS, axes_grid, save

    ways = [*dict.fromkeys(name.rpartition(", ")[2] for name in rows)]
    with axes_grid(1, len(ways), 3.2 * len(ways), 3.4) as (figure, axes):
        for axis, way in zip(axes[0], ways, strict=True):
            axis.plot(counts, counts, color="#808080", linestyle=":", label="n times")
            own = {name.rpartition(", ")[0]: values for name, values in rows.items() if name.endswith(way)}
            for (name, values), colour in zip(own.items(), COLOURS, strict=False):
                axis.plot(counts[: len(values)], values, color=colour, marker=".", label=name)
            axis.set_xscale("log", base=2)
            axis.set_yscale("log", base=2)
            axis.set_title(f"{title}\n{way}", fontsize=8)
            axis.set_xlabel("processes")
        axes[0][0].set_ylabel("times the images a second of one")
        axes[0][0].legend(fontsize=6)
        save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("check", help=check.__doc__)
    add.add_argument("nets", nargs="*", default=["cifar10_bn", "cifar10_quick"])
    add.add_argument("--processes", type=int, nargs="+", default=[2, 4])
    add.add_argument("--steps", type=int, default=40)
    links = [add]
    add = commands.add_parser("namespaces", help=namespaces.__doc__)
    add.add_argument("nets", nargs="*", default=["cifar10_bn", "cifar10_quick"])
    add.add_argument("--rates", type=float, nargs="+", default=[0.0, 1.0], help="Gbit/s; 0: as fast as it is")
    add.add_argument("--steps", type=int, default=40)
    add = commands.add_parser("predict", help=predict.__doc__)
    add.add_argument("net", type=Path, help="prototxt to train or to deploy")
    add.add_argument("--shape", type=lambda text: tuple(map(int, text.split(","))), default=(3, 32, 32))
    add.add_argument("--batch", type=int, default=100)
    add.add_argument("--images", type=int, nargs=2, default=(10, 50), help="numbers of images to measure with")
    add.add_argument("--steps", type=int, default=10)
    add.add_argument("--plot", type=Path, help="picture to write")
    for one in [*links, add]:
        one.add_argument("--alpha", type=float, nargs="+", default=[50e-6, 1e-3], help="seconds a message takes")
        one.add_argument("--gbit", type=float, nargs="+", default=[1.0, 10.0], help="Gbit/s of the link")
    add = commands.add_parser("child")
    for name, kind in (("net", str), ("alpha", float), ("beta", float), ("steps", int)):
        add.add_argument(name, type=kind)
    options = parser.parse_args()
    if options.command == "child":
        child(options.net, options.alpha, options.beta, options.steps)
    else:
        {"check": check, "namespaces": namespaces, "predict": predict}[options.command](options)


if __name__ == "__main__":
    main()
