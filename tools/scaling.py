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
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench_mpi import mpiexec, solver_of
from slow_links import Recorder, SlowGroup, measured_link, namespaces_joined
from step_model import Event, Link, best, on_images, ring, step_time, two_levels
from turns import machine

from caffelite.layers.contract.group import Group

MODELS = Path(__file__).resolve().parent.parent / "models"


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
