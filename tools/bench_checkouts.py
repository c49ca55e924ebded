"""Two checkouts of caffelite timed in turns: training steps of the example nets, passes of nets in files.

    git worktree add ../before v0.1.0
    python tools/bench_checkouts.py ../before . --train cifar10_bn lenet --infer NET.prototxt ...

Each checkout is a process of its own that imports the package from there; one waits, asleep, while the other works.
What is reported is the median step of each, and the second's time by the first's: median, smallest and largest of the
rounds. Parameters and images are random, from one seed. Rounds are short and many, because the machine changes its
speed meanwhile.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from turns import in_turns, machine, timed, use_threads

#: Shape of a batch and deviation of its values, for the nets of ``models/``.
TRAINED = {
    "cifar10_bn": ((100, 3, 32, 32), 60.0),
    "cifar10_full": ((100, 3, 32, 32), 60.0),
    "cifar10_quick": ((100, 3, 32, 32), 60.0),
    "lenet": ((64, 1, 28, 28), 0.3),
    "mnist_mlp": ((60, 1, 28, 28), 0.3),
    "mnist_mlp_bn": ((60, 1, 28, 28), 0.3),
}


def training(name: str) -> Callable[[], Any]:
    """Return a training step of a net of this checkout."""
    from bench_train import caffelite_step

    return caffelite_step(name, *TRAINED[name])


def inference(prototxt: str) -> Callable[[], Any]:
    """Return a pass over what the net's Input layers say, in the TEST phase."""
    from caffelite.net import Net

    net = Net(prototxt, 1, learn=False)
    rng = np.random.default_rng(1)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.standard_normal(blob.shape) / np.sqrt(max(blob.data[:1].size, 1))
    # Statistics of BatchNorm: variances are not negative.
    for layer in net.layers:
        if layer.type == "BatchNorm":
            for blob in layer.blobs:
                blob.data[...] = 1
    for name in net.inputs:
        net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
    net.changed()
    return net.forward


def serve(kind: str, name: str) -> None:
    """Do as many steps as each line of the input says; answer with what each of them took."""
    step = {"train": training, "infer": inference}[kind](name)
    for line in sys.stdin:
        step()  # wakes its threads
        print(json.dumps(timed(step, int(line))), flush=True)


class Worker:
    """A checkout in a process of its own."""

    def __init__(self, checkout: Path, kind: str, name: str) -> None:
        paths = f"import sys; sys.path[:0] = [{str(checkout)!r}, {str(checkout / 'tools')!r}]"
        code = f"{paths}; sys.path.append({str(Path(__file__).parent)!r}); import bench_checkouts"
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{code}; bench_checkouts.serve({kind!r}, {name!r})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, steps: int) -> list[float]:
        """Return the seconds of so many steps."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(steps, file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a checkout ended; what it said is above")
        times: list[float] = json.loads(line)
        return times

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--train", nargs="*", default=[], choices=TRAINED, metavar="NAME", help="nets of models/")
    parser.add_argument("--infer", nargs="*", default=[], type=Path, metavar="PROTOTXT")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each checkout a round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    use_threads(options.threads)
    rows = []
    for kind, name in [("train", n) for n in options.train] + [("infer", str(p.resolve())) for p in options.infer]:
        checkouts = {"before": options.before.resolve(), "after": options.after.resolve()}
        workers = {which: Worker(checkout, kind, name) for which, checkout in checkouts.items()}
        results = in_turns({which: worker.run for which, worker in workers.items()}, options.rounds, options.seconds)
        for worker in workers.values():
            worker.close()
        result = results["after"]
        shown = name if kind == "train" else "/".join(Path(name).parts[-2:])
        rows.append(
            {
                "kind": kind,
                "net": shown,
                "before_ms": results["before"].ms,
                "after_ms": result.ms,
                "ratio": result.ratio,
                "ratio_low": result.ratio_low,
                "ratio_high": result.ratio_high,
            }
        )
        if not options.json:
            spread = f"{result.ratio:.3f} ({result.ratio_low:.3f} to {result.ratio_high:.3f})"
            print(f"{kind} {shown:36s} {results['before'].ms:9.3f} ms {result.ms:9.3f} ms   {spread}", flush=True)
    facts = machine(options.threads)
    print(json.dumps({"facts": facts, "rows": rows}, indent=1) if options.json else facts)


if __name__ == "__main__":
    main()
