"""Training over processes: what MPI costs, what a second process brings, beside PyTorch's DistributedDataParallel.

Four programs do the same steps in turns, on records from the database (PyTorch: on a batch in memory): one process as
it is; the same under mpiexec; two processes of one thread each; and two processes of PyTorch, one thread each, that add
up their gradients over gloo (``pip install .[bench,mpi]``). What is reported is the median step of each, and its ratio
to that of the first, with the spread over the rounds.
"""

import argparse
import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from turns import in_turns, machine, timed

MODELS = Path(__file__).resolve().parent.parent / "models"
#: Seconds between two looks of a process that has nothing to do: one that waits in MPI would use its core.
_LOOK = 0.01


class Program:
    """Processes that do steps when they are told to.

    Parameters
    ----------
    kind : {"one", "mpi", "ddp"}
    name : str
        The net.
    processes, threads : int
        Threads of each process.
    folder : str
        Where the records are.
    """

    def __init__(self, kind: str, name: str, processes: int, threads: int, folder: str) -> None:
        child = [sys.executable, __file__, "--child", kind, name]
        environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        self._others: list[subprocess.Popen[str]] = []
        if kind == "mpi":
            child = [mpiexec(), "-n", str(processes), *child]
        elif kind == "ddp":
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
            for rank in range(1, processes):
                self._others.append(subprocess.Popen(child, cwd=folder, env={**environment, "RANK": str(rank)}))
            environment["RANK"] = "0"
        self._first = subprocess.Popen(
            child, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, steps: int) -> list[float]:
        """Return what each step took, seconds."""
        assert self._first.stdin is not None and self._first.stdout is not None
        self._first.stdin.write(f"{steps}\n")
        self._first.stdin.flush()
        line = self._first.stdout.readline()
        if not line:
            sys.exit("a program ended before it was told to")
        times: list[float] = json.loads(line)
        return times

    def close(self) -> None:
        """Let them end."""
        self._first.communicate("0\n")
        for other in self._others:
            other.wait()


def mpiexec() -> str:
    """Return the launcher that belongs to the MPI of this Python."""
    beside = Path(sys.executable).parent / "mpiexec"
    return str(beside) if beside.exists() else "mpiexec"


def serve(step: Any, told: Any, rank: int) -> None:
    """Do as many steps as is told, until that is none."""
    while steps := told():
        times = timed(step, steps)
        if rank == 0:
            print(json.dumps(times), flush=True)


def solver_of(name: str, **options: Any) -> Any:
    """Return the solver of an example net, without tests, snapshots and what it shows."""
    from caffelite.schema.text import read_solver
    from caffelite.solvers.logs import Listener
    from caffelite.solvers.solver import Solver

    document = read_solver(f"models/{name}_solver.prototxt")
    for field in ("test_iter", "test_interval", "display", "snapshot"):
        document.message.ClearField(field)
    return Solver(document, Listener(), **options)


def child(kind: str, name: str) -> None:
    """Be one of the processes."""
    if kind == "one":
        solver = solver_of(name)
        serve(partial(solver.step, 1), lambda: int(input()), 0)
        return
    if kind == "ddp":
        serve_ddp(name)
        return
    from mpi4py import MPI

    from caffelite.parallel.world import MpiGroup

    group = MpiGroup(MPI.COMM_WORLD)
    solver = solver_of(name, group=group)
    steps = np.zeros(1, np.int64)

    def told() -> int:
        if group.rank == 0:
            steps[0] = int(input())
        request = MPI.COMM_WORLD.Ibcast(steps)
        while not request.Test():
            time.sleep(_LOOK)
        return int(steps[0])

    serve(partial(solver.step, 1), told, group.rank)


def serve_ddp(name: str) -> None:
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel
    from torch_models import Trainer

    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    trainer = Trainer(name, torch.get_num_threads())
    piece = len(trainer.x) // size
    trainer.x, trainer.y = (whole[rank * piece : (rank + 1) * piece].clone() for whole in (trainer.x, trainer.y))
    trainer.model = DistributedDataParallel(trainer.model)

    def told() -> int:
        steps = torch.tensor([int(input()) if rank == 0 else 0])
        dist.broadcast(steps, 0)
        return int(steps)

    serve(trainer.step, told, rank)
    dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=["cifar10_bn", "cifar10_quick", "lenet"])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each program a round")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("KIND", "NET"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    n, rows = options.processes, []
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "models").symlink_to(MODELS)
        for name in options.nets:
            command = [
                sys.executable,
                "-m",
                "caffelite",
                "train",
                f"models/{name}_solver.prototxt",
                "--iterations",
                "1",
            ]
            subprocess.run(
                [*command, "--iterations", "1"], cwd=folder, check=True, capture_output=True
            )  # makes the data, compiles
            programs = {
                f"one process, {n} threads": Program("one", name, 1, n, folder),
                "the same under mpiexec": Program("mpi", name, 1, n, folder),
                f"{n} processes of 1 thread": Program("mpi", name, n, 1, folder),
                f"PyTorch DDP, {n} of 1": Program("ddp", name, n, 1, folder),
            }
            results = in_turns({who: p.run for who, p in programs.items()}, options.rounds, options.seconds)
            for program in programs.values():
                program.close()
            for who, result in results.items():
                rows.append({"net": name, "program": who, **dataclasses.asdict(result)})
                if not options.json:
                    print(f"{name:14s} {who:26s} {result}", flush=True)
    facts = machine(n)
    print(json.dumps({"facts": facts, "rows": rows}, indent=1) if options.json else facts)


if __name__ == "__main__":
    main()
