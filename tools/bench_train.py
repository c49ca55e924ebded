"""Training steps of the example nets, caffelite beside PyTorch (``pip install .[bench]``).

Both do forward, backward and update on a batch that lies in memory, on the same number of threads, in turns; what is
reported is the median step of each and their ratio, with the spread of the ratio over the rounds.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

MODELS = Path(__file__).resolve().parent.parent / "models"


def caffelite_step(name: str, shape: tuple[int, ...], deviation: float) -> Callable[[], None]:
    from caffelite.schema.text import net_from_message, read_net, read_solver
    from caffelite.solvers.logs import Listener
    from caffelite.solvers.solver import Solver

    net = read_net(MODELS / f"{name}.prototxt").message
    for layer in net.layer:
        if layer.type == "Data":
            layer.type = "Input"
            for size in (shape, shape[:1]):
                layer.input_param.shape.add(dim=size)
    document = read_solver(MODELS / f"{name}_solver.prototxt")
    solver = document.message
    solver.ClearField("net")
    solver.net_param.CopyFrom(net_from_message(net).message)
    for field in ("test_iter", "test_interval", "display", "snapshot"):
        solver.ClearField(field)
    made = Solver(document, Listener())
    rng = np.random.default_rng(1)
    made.net.blobs["data"].data[...] = rng.standard_normal(shape) * deviation
    made.net.blobs["label"].data[...] = rng.integers(0, 10, shape[0])
    return lambda: made.step(1)


def timed(step: Callable[[], None], steps: int) -> list[float]:
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", help="names of nets (all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each program a round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("NUMBA_NUM_THREADS", str(options.threads))
    from torch_models import MODELS as PEERS
    from torch_models import Trainer, torch

    rows = []
    for name in options.nets or PEERS:
        _, shape, deviation = PEERS[name]
        ours, theirs = caffelite_step(name, shape, deviation), Trainer(name, options.threads).step
        for step in (ours, theirs):
            timed(step, 5)
        steps = max(int(options.seconds / statistics.median(timed(theirs, 5))), 3)
        mine, peers, ratios = [], [], []
        for _ in range(options.rounds):
            a, b = timed(ours, steps), timed(theirs, steps)
            mine += a
            peers += b
            ratios.append(statistics.median(b) / statistics.median(a))
        rows.append({
            "net": name, "batch": shape[0], "caffelite_ms": statistics.median(mine) * 1e3,
            "pytorch_ms": statistics.median(peers) * 1e3, "ratio": statistics.median(ratios),
            "ratio_low": min(ratios), "ratio_high": max(ratios),
        })  # fmt: skip
        if not options.json:
            r = rows[-1]
            print(f"{name:14s} batch {shape[0]:3d}   caffelite {r['caffelite_ms']:8.3f} ms   PyTorch "
                  f"{r['pytorch_ms']:8.3f} ms   ratio {r['ratio']:.2f} ({r['ratio_low']:.2f} to {r['ratio_high']:.2f})",
                  flush=True)  # fmt: skip
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {
        "threads": options.threads,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "peak_mb": peak,
    }
    print(json.dumps({"facts": facts, "rows": rows}, indent=1) if options.json else facts)


if __name__ == "__main__":
    main()
