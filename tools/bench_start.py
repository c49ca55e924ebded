"""From the start of a process to its first result, with an empty kernel cache and with a filled one.

Each figure is the time of a whole process: `caffelite train` for one iteration of `models/cifar10_bn.prototxt` (without
tests; the data are at hand), a Python script that runs the same step on numbers in memory, one that runs a forward pass
of a deploy net, and PyTorch's step beside them (``pip install .[bench]``). The empty cache is a folder of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from turns import machine, use_threads

ROOT = Path(__file__).resolve().parent.parent
STEP = "from bench_train import caffelite_step as s; s('cifar10_bn', (100, 3, 32, 32), 60.0)()"
FORWARD = "import sys; from caffelite.net import Net; Net(sys.argv[1], 1).forward()"
PEER = "from torch_models import Trainer; Trainer('cifar10_bn', {}).step()"


def solver(folder: Path) -> Path:
    """Write the solver of the example for one iteration and no test."""
    from caffelite.schema.printer import write_text
    from caffelite.schema.text import read_solver

    document = read_solver(ROOT / "models" / "cifar10_bn_solver.prototxt")
    message = document.message
    message.net = str(ROOT / "models" / "cifar10_bn.prototxt")
    message.max_iter = 1
    message.snapshot = 0
    message.snapshot_after_train = False
    for field in ("test_iter", "test_interval", "test_initialization", "test_state"):
        message.ClearField(field)
    path = folder / "solver.prototxt"
    write_text(document, path)
    return path


def seconds(command: list[str], cache: Path | None) -> float:
    """Return how long a process takes."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tools")])}
    if cache is not None:
        environment["CAFFELITE_CACHE"] = str(cache)
    start = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deploy", type=Path, metavar="NET", help="a net whose first forward pass is timed as well")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="with a filled cache, and of the peer")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    use_threads(options.threads)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        train = [sys.executable, "-m", "caffelite", "train", str(solver(folder))]
        seconds(train, folder / "data")  # makes the data, where they are not there yet
        work = {"caffelite train": train, "caffelite step": [sys.executable, "-c", STEP]}
        if options.deploy:
            work["caffelite forward"] = [sys.executable, "-c", FORWARD, str(options.deploy)]
        for name, command in work.items():
            cache = folder / name.replace(" ", "-")
            empty = seconds(command, cache)
            filled = [seconds(command, cache) for _ in range(options.rounds)]
            rows.append({"work": name, "empty_s": empty, "filled_s": statistics.median(filled)})
        peer = [seconds([sys.executable, "-c", PEER.format(options.threads)], None) for _ in range(options.rounds)]
        rows.append({"work": "PyTorch step", "empty_s": None, "filled_s": statistics.median(peer)})
    if options.json:
        print(json.dumps({"facts": machine(options.threads), "rows": rows}, indent=1))
        return
    print("work                 empty cache   filled cache")
    for row in rows:
        empty = f"{row['empty_s']:.2f} s" if row["empty_s"] is not None else ""
        print(f"{row['work']:20s} {empty:>11s}   {row['filled_s']:>10.2f} s")
    print(machine(options.threads))


if __name__ == "__main__":
    main()
