"""Kinds of trouble, and what each of them may leave: see ``torture.py``."""

import collections
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from torture_runs import COMMANDS, LAST, SNAPSHOT, SOLVER, TRAIN, Run, digests

from caffelite.errors import WeightsError
from caffelite.solvers.snapshot_files import check_whole, states_of

LOSSES = ("lost", "unreadable", "not equal", "hung", "traceback", "exit code", "leftovers")
FULL = re.compile(r"(No space left on device|File too large) after [\d,.]+ (MB|bytes); [\d,.]+ (MB|bytes) are free")
SIGNAL_CODES = {signal.SIGTERM: 143, signal.SIGINT: 0, signal.SIGHUP: 0}


class Kind:
    """Tries of one kind, in a folder of their own.

    Attributes
    ----------
    tries : int
    losses : Counter of str
        By :data:`LOSSES`.
    told : list of str
        A line for each loss.
    """

    #: What a shell does with the command, see :class:`Run`.
    shell = ""
    #: The iteration at which a training ends.
    last = LAST

    def __init__(self, name: str, command: str, inputs: Path, folder: Path, rng: random.Random) -> None:
        self.name, self.command, self.folder, self.rng = name, command, folder, rng
        self.out = folder / "out"
        self.tries = self.ends = 0
        self.reference: dict[str, str] = {}
        self.losses: collections.Counter[str] = collections.Counter()
        self.told: list[str] = []
        self.training = command.startswith(TRAIN)
        shutil.copytree(inputs, folder)
        if name == "train-hdf5":
            (folder / "solver.prototxt").write_text(SOLVER + "snapshot_format: HDF5\n")
        self.out.mkdir()

    def prepare(self) -> None:
        """Make the unbroken run."""
        run = Run(self.folder, self.command.replace(" --keep 3", ""), self.shell)
        code = run.end()
        self.seconds = time.perf_counter() - run.begun
        if code:
            raise SystemExit(f"{self.name}: the unbroken run ended with {code}:\n{run.said}")
        self.reference = digests(self.out)
        self.made = self.results()
        self.clear()

    def results(self) -> dict[str, bytes]:
        """Return what a run has made beside the folder that is watched, by name."""
        return {file.name: file.read_bytes() for file in self.folder.glob("made_*")}

    def clear(self) -> None:
        """Let the next try begin from nothing."""
        for entry in list(self.out.iterdir()):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def lose(self, loss: str, detail: str) -> None:
        """Note a loss."""
        self.losses[loss] += 1
        self.told.append(f"{self.name}, try {self.tries}: {loss}: {detail}")

    def newest(self) -> int:
        """Return the iteration of the newest snapshot; -1 where there is none."""
        states = states_of(str(self.out / "net"))
        return states[0][0] if states else -1

    def scratch(self) -> set[str]:
        """Return the paths of what the unbroken run has not left in the folder."""
        known = {str(path) for name in self.reference for path in (Path(name), *Path(name).parents)}
        names = {str(path.relative_to(self.out)) for path in self.out.rglob("*")} - known
        return {name for name in names if not SNAPSHOT.fullmatch(name)}

    def attempt(self) -> None:
        """Make one try."""
        self.tries += 1
        newest, names, scratch = self.newest(), set(digests(self.out)), self.scratch()
        run, code = self.trouble()
        if run.hung:
            self.lose("hung", run.said[-300:])
        if "Traceback" in run.said or "Exception ignored" in run.said:
            self.lose("traceback", run.said)
        self.check_files(newest, names, scratch)
        if code == 0:
            self.seconds = min(self.seconds, time.perf_counter() - run.begun)
            self.check_end()

    def trouble(self) -> tuple[Run, int]:
        """Start a run and kill it; now and then let it end."""
        run = Run(self.folder, self.command)
        if self.training or self.tries % 5:
            run.wait_for_moment(self.rng, self.seconds, self.out)
            run.process.kill()
        code = run.end()
        if code not in (0, -signal.SIGKILL):
            self.lose("exit code", f"{code}: {run.said[-300:]}")
        return run, code

    def check_files(self, newest: int, names: set[str], scratch: set[str]) -> None:
        """Hold what lies there against the unbroken run, and against what lay there before."""
        present = {name: digest for name, digest in digests(self.out).items() if ".unfinished" not in name}
        for name, digest in present.items():
            if name in self.reference and digest != self.reference[name] and self.name != "compile":
                self.lose("not equal", name)
        if self.training:
            if self.newest() < newest:
                self.lose("lost", f"the snapshot of iteration {newest}; there is that of {self.newest()}")
            for _, state in states_of(str(self.out / "net"))[:1]:
                try:
                    check_whole(state)
                except WeightsError as error:
                    self.lose("unreadable", str(error))
        else:
            gone = {name for name in names if name in self.reference} - set(present)
            if gone:
                self.lose("lost", ", ".join(sorted(gone)))
        written = self.newest() > newest if self.training else bool(set(present) & set(self.reference) - names)
        if written and scratch & self.scratch():
            self.lose("leftovers", ", ".join(sorted(scratch & self.scratch())))

    def check_end(self) -> None:
        """Hold the result of a run that has come to its end against that of the unbroken one; begin anew."""
        self.ends += 1
        expected = {name for name in self.reference if not self.training or f"_{self.last}." in name}
        if missing := expected - set(digests(self.out)):
            self.lose("lost", f"{', '.join(sorted(missing))} at the end")
        if self.results() != self.made:
            self.lose("not equal", "the weights at the end")
        self.clear()
        for file in self.folder.glob("made_*"):
            file.unlink()


class Signals(Kind):
    """A signal at some moment of a training that goes on from the last one."""

    def trouble(self) -> tuple[Run, int]:
        """Start a run and send it a signal; one that goes on with it may end."""
        before = self.newest()
        run = Run(self.folder, self.command)
        number = self.rng.choice(list(SIGNAL_CODES))
        run.wait_for_moment(self.rng, self.seconds, self.out)
        trained = "Iteration " in run.said
        run.process.send_signal(number)
        code = run.end()
        expected = {SIGNAL_CODES[number]}
        if not trained:  # while Python starts, the signal itself ends the process; later, what builds a net
            expected |= {-number, 128 + number}
        done = self.newest() == self.last
        if done:
            expected |= {0, -number, 128 + number}
        if code not in expected:
            self.lose("exit code", f"{code} after {number.name}: {run.said[-300:]}")
        if trained and self.newest() <= before:
            self.lose("lost", f"there is no snapshot after {number.name}: {run.said[-300:]}")
        return run, 0 if done else 1


class Full(Kind):
    """A disk that is too small, or a limit of the size of files, for one of the commands."""

    def prepare(self) -> None:
        """Make the unbroken runs."""
        self.references: dict[str, dict[str, str]] = {}
        for name in ("train", "data", "fold", "recalibrate"):
            self.command, self.training = COMMANDS[name], name == "train"
            super().prepare()
            self.references[name] = self.reference
        self.mounts = self.mount(16)
        self.unmount()

    def mount(self, pages: int) -> bool:
        """Put a disk of so many pages in the place of the folder; false where that is not allowed."""
        line = ["mount", "-t", "tmpfs", "-o", f"size={pages * 4096}", "tmpfs", str(self.out)]
        return shutil.which("mount") is not None and not subprocess.run(line, capture_output=True).returncode

    def unmount(self) -> None:
        """Take the disk away."""
        if self.out.is_mount():
            subprocess.run(["umount", str(self.out)], check=True)

    def trouble(self) -> tuple[Run, int]:
        """Run one of the commands where it may have too little room."""
        name = self.rng.choice(list(self.references))
        self.command, self.training, self.reference = COMMANDS[name], name == "train", self.references[name]
        pages = int(2 ** self.rng.uniform(0, 9))
        mounted = self.mounts and self.rng.random() < 0.7 and self.mount(pages)
        run = Run(self.folder, self.command, "" if mounted else f'ulimit -f {pages * 8}; exec "$@"')
        code = run.end()
        last = run.said.rstrip().rpartition("\n")[2]
        if code not in (0, 1):
            self.lose("exit code", f"{name}: {code}: {run.said[-300:]}")
        elif code and not FULL.search(run.said):
            self.lose("traceback", f"{name}: {last}")
        if code and any(".unfinished" in entry for entry in self.scratch()):
            self.lose("leftovers", f"{name}: {self.scratch()}")
        return run, code

    def attempt(self) -> None:
        """Make one try; each begins from nothing."""
        try:
            super().attempt()
        finally:
            self.unmount()
            self.clear()


class Streams(Kind):
    """Streams that are closed, full or gone: the training goes on to its end all the same."""

    def trouble(self) -> tuple[Run, int]:
        """Train with one stream, or both, out of order."""
        shell = self.rng.choice([">&-", "2>&-", ">/dev/full", "2>/dev/full", ">&- 2>&-", ">/dev/full 2>&1", "gone"])
        if shell == "gone":
            reader, writer = os.pipe()
            run = Run(self.folder, self.command, stderr=writer)
            os.close(writer)
            time.sleep(self.rng.uniform(0, self.seconds / 2))
            os.close(reader)
        else:
            run = Run(self.folder, self.command, f'exec "$@" {shell}')
        code = run.end()
        if code != 1:
            self.lose("exit code", f"{code} with {shell}: {run.said[-300:]}")
        # What it has made is whole and as it should be: the exit code says that not all could be told.
        return run, 0
