"""Runs that are killed, told to end, short of room and without streams: what is promised against what is there.

    python tools/torture.py
    python tools/torture.py --kinds train,train-hdf5 --tries 500

Each kind of try has a folder of its own and goes on where the last try has left it, as a person would; two kinds go on
side by side. First each makes one unbroken run: what lies in the folder later is compared with its files byte for byte.

    train, train-hdf5              kill -9 of a training that goes on with --resume auto, and another, and another
    data, fold, recalibrate        kill -9 while they write; every fifth run may end
    compile                        kill -9 of a training while it fills an empty kernel cache; every fifth may end
    signals                        SIGTERM, SIGINT or SIGHUP to a training: exit codes, snapshots
    full                           one of these commands on a disk that is too small (or with a limit of file sizes)
    streams                        a training whose standard output or standard error is closed, full or gone

Half of the kills come at any moment of the run, half within some milliseconds of something being written. A table tells
tries and losses, and the exit code is 1 where there are losses:

    lost         a file, or the newest snapshot, that was there before is there no more; a promised snapshot is not made
    unreadable   the newest snapshot is not whole
    not equal    a file is not, byte for byte, that of the unbroken run
    hung         no end within two minutes, or children that live on
    traceback    an error that is not a sentence
    exit code    not the one that is promised
    leftovers    scratch files of an earlier run are still there after another has written to the same folder

Needs Linux; HDF5 needs h5py.
"""

import argparse
import collections
import contextlib
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from torture_kinds import LOSSES, Full, Kind, Signals, Streams
from torture_runs import COMMANDS, make_inputs


def kind_of(name: str, inputs: Path, folder: Path, seed: int) -> Kind:
    """Return tries by their name."""
    rng = random.Random(f"{name} {seed}")
    special = {"signals": Signals, "full": Full, "streams": Streams}
    return special.get(name, Kind)(name, COMMANDS.get(name, COMMANDS["train"]), inputs, folder / name, rng)


def torture(
    names: list[str],
    tries: int,
    seconds: float,
    seed: int,
    jobs: int = 2,
    kind_of: Callable[[str, Path, Path, int], Kind] = kind_of,
) -> list[Kind]:
    """Make so many tries of each kind, ``jobs`` at a time, and begin none after so many seconds."""
    deadline = time.perf_counter() + seconds
    with tempfile.TemporaryDirectory(prefix="torture-") as top:
        folder = Path(top)
        (folder / "inputs").mkdir()
        make_inputs(folder / "inputs")
        kinds = [kind_of(name, folder / "inputs", folder, seed) for name in names]
        waiting = collections.deque(kinds)
        failures: list[BaseException] = []

        def work() -> None:
            with contextlib.suppress(IndexError):
                while not failures:
                    kind = waiting.popleft()
                    try:
                        kind.attempt() if kind.reference else kind.prepare()
                    except BaseException as error:
                        failures.append(error)
                        raise
                    if kind.tries < tries and time.perf_counter() < deadline:
                        waiting.append(kind)

        workers = [threading.Thread(target=work) for _ in range(jobs)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if failures:
            raise failures[0]
    return kinds


def main(
    description: str | None = __doc__,
    every: Sequence[str] = (*COMMANDS, "signals", "full", "streams"),
    kind_of: Callable[[str, Path, Path, int], Kind] = kind_of,
    jobs: int = 2,
) -> int:
    """Make the tries that the command line asks for, of kinds that are made by their names."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default=",".join(every), help="some of them, with commas (%(default)s)")
    parser.add_argument("--tries", type=int, default=20, help="of each kind (%(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no try begins after so many")
    parser.add_argument("--seed", type=int, default=1, help="of commands, signals and moments (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there too")
    options = parser.parse_args()
    names = options.kinds.split(",")
    if unknown := [name for name in names if name not in every]:
        parser.error(f"there is no kind {unknown[0]!r}; there are {', '.join(every)}")
    begun = time.perf_counter()
    kinds = torture(names, options.tries, options.seconds, options.seed, jobs, kind_of)
    for kind in kinds:
        print(*kind.told, sep="\n", end="\n" if kind.told else "")
    print(f"{'':18}{'tries':>8}{'ends':>8}", *(f"{loss:>12}" for loss in LOSSES), sep="")
    for kind in kinds:
        counts = (f"{kind.losses[loss]:12}" for loss in LOSSES)
        print(f"{kind.name:18}{kind.tries:8}{kind.ends:8}", *counts, sep="")
    lost = sum(kind.losses.total() for kind in kinds)
    total = sum(kind.tries for kind in kinds)
    print(f"{total} tries in {time.perf_counter() - begun:.0f} s, {lost} losses")
    if options.json:
        table = {k.name: {"tries": k.tries, "ends": k.ends, **{loss: k.losses[loss] for loss in LOSSES}} for k in kinds}
        options.json.write_text(json.dumps({"seed": options.seed, "kinds": table}, indent=1) + "\n")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
