"""Trainings on several processes, of which one is killed or told to end: what is promised against what is there.

    python tools/torture_mpi.py
    python tools/torture_mpi.py --kinds processes,mpiexec --tries 50 --json table.json

Tries are made one at a time and compared as in ``torture.py``: each goes on with --resume auto where the last one has
left its folder, and what lies there is held, byte for byte, against the files of an unbroken run of as many processes.

    processes, mpiexec                   kill -9 of one process, any of them, from the start to the end of a training
                                         with tests and snapshots, by --processes and by the launcher of MPI
    processes-signals, mpiexec-signals   SIGTERM to the launcher or to one process, SIGINT to the launcher
    launcher                             kill -9 of the command with --processes: its processes end

Of the losses that are told there, ``hung`` is a run of which anything lives 10 seconds after the signal. Needs Linux,
mpi4py and the mpiexec of MPICH.
"""

import os
import random
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torture
from torture_kinds import Kind
from torture_runs import SOLVER, TRAIN, Run

#: From the signal to the end of the last process.
LIMIT = 10.0
#: Processes that share cores with others take many times as long for an iteration.
LAST = 1000
TESTS = "test_iter: 4 test_interval: 100\n"
_BESIDE = Path(sys.executable).with_name("mpiexec")
MPIEXEC: str | None = str(_BESIDE) if _BESIDE.is_file() else shutil.which("mpiexec")
COMMANDS = {"processes": TRAIN.replace("--threads 1", "--processes 2"), "mpiexec": TRAIN}
SHELLS = {"processes": "", "mpiexec": f'exec {MPIEXEC} -n 3 "$@"'}
KINDS = ["processes", "mpiexec", "processes-signals", "mpiexec-signals", "launcher"]
_RANK = b"\0PMI_RANK="


def living(folder: Path) -> Iterator[int]:
    """Yield the processes that have a folder as their working directory, as all of a run have."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                if os.readlink(entry / "cwd") == str(folder):
                    yield int(entry.name)
            except OSError:  # it has ended meanwhile, or is another user's
                continue


def ranks(folder: Path) -> list[int]:
    """Return those of them that a launcher has given a rank, in the order of their ranks."""
    placed = []
    for process in living(folder):
        try:
            settings = b"\0" + Path(f"/proc/{process}/environ").read_bytes()
        except OSError:
            continue
        if _RANK in settings:
            placed.append((int(settings.split(_RANK)[1].split(b"\0")[0]), process))
    return [process for _, process in sorted(placed)]


class Ranks(Kind):
    """Kills of one of several processes."""

    last = LAST

    def __init__(self, name: str, inputs: Path, folder: Path, rng: random.Random) -> None:
        launcher = name.partition("-")[0]
        self.shell = SHELLS.get(launcher, "")
        super().__init__(name, COMMANDS.get(launcher, COMMANDS["processes"]), inputs, folder, rng)
        (self.folder / "solver.prototxt").write_text(
            re.sub(r"max_iter: \d+ snapshot: \d+", f"max_iter: {LAST} snapshot: 100", SOLVER) + TESTS
        )

    def hit(self, run: Run) -> tuple[int, int]:
        """Choose a process and a signal."""
        while run.process.poll() is None:
            placed = ranks(self.folder)
            if placed:
                return self.rng.choice(placed), signal.SIGKILL
            time.sleep(0.002)
        return 0, 0

    def trouble(self) -> tuple[Run, int]:
        """Start a run, and send a signal to one of its processes."""
        before = self.newest()
        run = Run(self.folder, self.command, self.shell)
        run.wait_for_moment(self.rng, self.seconds, self.out)
        trained = "Iteration " in run.said
        process, number = self.hit(run)
        begun = time.perf_counter()
        try:
            if process:
                os.kill(process, number)
        except ProcessLookupError:
            process = 0
        code = self.ended(run, begun)
        done = self.newest() == self.last
        if done and (not process or code == 0):
            return run, 0
        self.check_code(run, code, number, trained)
        if trained and number != signal.SIGKILL and self.newest() <= before:
            self.lose("lost", f"there is no snapshot after signal {number}: {run.said[-300:]}")
        return run, 0 if done else 1

    def ended(self, run: Run, begun: float) -> int:
        """Wait until all of a run have ended; return the exit code."""
        while (run.process.poll() is None or any(living(self.folder))) and time.perf_counter() < begun + 2 * LIMIT:
            time.sleep(0.01)
        seconds = time.perf_counter() - begun
        if seconds > LIMIT:
            left = [f"{process}: {_command_of(process)}" for process in living(self.folder)]
            self.lose("hung", f"{seconds:.1f} s; {'; '.join(left) or 'none is left'}; {run.said[-300:]}")
            for process in living(self.folder):
                os.kill(process, signal.SIGKILL)
        return run.end()

    def check_code(self, run: Run, code: int, number: int, trained: bool) -> None:
        """Hold the exit code of a run that did not come to its end against the promise."""
        if code == 0 or (self.name == "processes" and code != 1):
            self.lose("exit code", f"{code} after a kill: {run.said[-300:]}")
        if self.name == "processes" and "SIGKILL" not in run.said:
            self.lose("traceback", f"it is not told what has ended the process: {run.said[-300:]}")


class Signals(Ranks):
    """Signals that end a training with a snapshot."""

    def hit(self, run: Run) -> tuple[int, int]:
        """Send SIGTERM to a process or the launcher, or SIGINT to the launcher."""
        number = self.rng.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGINT])
        process, _ = super().hit(run)
        return (process if number == signal.SIGTERM and self.rng.random() < 0.5 else run.process.pid), number

    def check_code(self, run: Run, code: int, number: int, trained: bool) -> None:
        """See :meth:`Ranks.check_code`."""
        expected = {143 if number == signal.SIGTERM else 0}
        if not trained:  # while it starts, the signal itself ends it; 1 where one process alone got it
            expected |= {1, -number, 128 + number}
        if not trained and self.shell:  # MPICH's launcher tells the signal
            expected |= {signal.SIGTERM, signal.SIGINT}
        if code not in expected:
            self.lose("exit code", f"{code} after signal {number}: {run.said[-300:]}")


class Launcher(Ranks):
    """Kills of the command that has started the processes."""

    def hit(self, run: Run) -> tuple[int, int]:
        """Choose the command itself."""
        return run.process.pid, signal.SIGKILL

    def check_code(self, run: Run, code: int, number: int, trained: bool) -> None:
        """It is killed, and there is nothing to be told."""


def _command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[-120:]
    except OSError:
        return "ended"


def kind_of(name: str, inputs: Path, folder: Path, seed: int) -> Kind:
    """Return tries by their name."""
    rng = random.Random(f"{name} {seed}")
    made: type[Ranks] = Launcher if name == "launcher" else Signals if name.endswith("-signals") else Ranks
    return made(name, inputs, folder / name, rng)


if __name__ == "__main__":
    sys.exit(torture.main(__doc__, KINDS, kind_of, jobs=1))
