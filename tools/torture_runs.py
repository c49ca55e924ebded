"""Runs of the command line that can be killed at some moment: their inputs, their commands, their processes."""

import contextlib
import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import lmdb

import caffelite
from caffelite.schema.messages import Datum

#: Seconds: nothing here takes a tenth of it.
PATIENCE = 120.0
#: A kill while something is written comes so many seconds at most after it has begun.
WRITING_SECONDS = 0.02
#: So long it is waited for that beginning.
WAIT_SECONDS = 2.0

NET = """
name: "net"
layer { name: "data" type: "Data" top: "x" top: "label" data_param { source: "records" backend: LMDB batch_size: 16 }
  transform_param { scale: 0.01 mirror: true } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "ip1" inner_product_param { num_output: 32
  weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "ip1" top: "bn" }
layer { name: "drop" type: "Dropout" bottom: "bn" top: "bn" }
layer { name: "ip2" type: "InnerProduct" bottom: "bn" top: "ip2" inner_product_param { num_output: 10
  weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""
#: The unbroken run keeps all of its snapshots, so that those of a broken one can be compared one by one.
SOLVER = """
net: "net.prototxt" base_lr: 0.01 lr_policy: "inv" gamma: 0.001 power: 0.75 momentum: 0.9 weight_decay: 0.001
max_iter: 6000 snapshot: 250 display: 50 average_loss: 7 random_seed: 3 snapshot_prefix: "out/net"
"""
LAST = 6000
#: Those that a signal makes are of any iteration.
SNAPSHOT = re.compile(r"net_iter_\d+\.(caffemodel|solverstate)(\.h5)?")

#: The command line, with few of the drawn images in place of CIFAR-10, and no address to look for others.
PROGRAM = """
import dataclasses, sys
if sys.argv[1] == "data":
    from caffelite.datasets import synthetic
    from caffelite.datasets.download import Remote
    from caffelite.datasets.originals import Splits
    from caffelite.datasets.prepare import DATASETS
    drawn = Splits(lambda: synthetic.shapes(0, 400), lambda: synthetic.shapes(400, 100))
    nowhere = (Remote("cifar-10-binary.tar.gz", 3, "0" * 64, ("http://127.0.0.1:1/x",)),)
    DATASETS["cifar10"] = dataclasses.replace(DATASETS["cifar10"], remotes=nowhere, builtin=drawn)
from caffelite.__main__ import process
process()
"""
TRAIN = "train solver.prototxt --resume auto --threads 1"
COMMANDS = {
    "train": TRAIN + " --keep 3",
    "train-hdf5": TRAIN + " --keep 3",
    "data": "data cifar10 --to out",
    "fold": "bn fold net.prototxt --weights trained.caffemodel --out out/new",
    "recalibrate": "bn recalibrate net.prototxt --weights trained.caffemodel --out out/new.caffemodel",
    "compile": "train short.prototxt --threads 1",
}


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file below a folder, by its path in it."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def make_inputs(folder: Path) -> None:
    """Write net, solvers and records, and train the weights that ``fold`` and ``recalibrate`` read."""
    rng = random.Random(1)
    with lmdb.open(str(folder / "records"), map_size=1 << 24) as environment, environment.begin(write=True) as writer:
        for i in range(100):
            datum = Datum(channels=1, height=8, width=8, label=i % 10, data=rng.randbytes(64))
            writer.put(b"%05d" % i, datum.SerializeToString())
    (folder / "records" / "lock.mdb").unlink()
    (folder / "net.prototxt").write_text(NET)
    (folder / "solver.prototxt").write_text(SOLVER)
    short = SOLVER.replace(str(LAST), "20").replace("out/net", "made")
    (folder / "short.prototxt").write_text(short)
    run = Run(folder, COMMANDS["compile"])
    if run.end():
        raise SystemExit(f"the weights cannot be trained:\n{run.said}")
    (folder / "made_iter_20.caffemodel").rename(folder / "trained.caffemodel")
    (folder / "made_iter_20.solverstate").unlink()


class Run:
    """A process of the command line in a group of its own; what it says is read all the time.

    Parameters
    ----------
    folder : Path
        Where it runs.
    command : str
        Arguments, with spaces between them.
    shell : str, optional
        What a shell does in its place: ``exec "$@"`` with settings or redirections.
    """

    def __init__(self, folder: Path, command: str, shell: str = "", **streams: int) -> None:
        line = [sys.executable, "-c", PROGRAM, *command.split()]
        if shell:
            line = ["sh", "-c", shell, "sh", *line]
        environment = {**os.environ, "PYTHONPATH": str(Path(caffelite.__file__).parents[1])}
        if command == COMMANDS["compile"] and (folder / "out").is_dir():
            environment["CAFFELITE_CACHE"] = str(folder / "out")
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(line, cwd=folder, env=environment, start_new_session=True, **settings)
        self._lines: list[str] = []
        self.hung = False
        pipes = [pipe for pipe in (self.process.stdout, self.process.stderr) if pipe]
        self._readers = [threading.Thread(target=self._read, args=(pipe,), daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def _read(self, pipe: Iterator[bytes]) -> None:
        for line in pipe:
            self._lines.append(line.decode(errors="replace"))

    @property
    def said(self) -> str:
        """What it has said until now, on both streams."""
        return "".join(self._lines)

    def wait_for_moment(self, rng: random.Random, seconds: float, out: Path) -> None:
        """Wait until some moment of a run that takes so many seconds, or until something is being written."""
        moment = self.begun + rng.uniform(0, seconds)
        while self.process.poll() is None and time.perf_counter() < moment:
            time.sleep(0.002)
        if rng.random() < 0.5:
            return
        before = set(out.rglob("*"))
        while self.process.poll() is None and time.perf_counter() < moment + WAIT_SECONDS:
            time.sleep(0.0005)
            with contextlib.suppress(FileNotFoundError):  # a folder that goes while it is read
                if set(out.rglob("*")) != before:
                    break
        time.sleep(rng.uniform(0, WRITING_SECONDS))

    def end(self) -> int:
        """Wait until the process and its children have ended; return the exit code."""
        try:
            code = self.process.wait(PATIENCE)
            deadline = time.perf_counter() + PATIENCE / 4
            while time.perf_counter() < deadline:
                os.killpg(self.process.pid, 0)
                time.sleep(0.01)
            self.hung = True
        except ProcessLookupError:
            pass
        except subprocess.TimeoutExpired:
            self.hung, code = True, -1
        if self.hung:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        return code
