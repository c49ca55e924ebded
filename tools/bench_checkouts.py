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
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from turns import in_turns, machine, timed, use_threads
from workers import Worker

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


def answering(kind: str, name: str, threads: int) -> Callable[[tuple[int, float]], list[float]]:
    """Return a function that does steps as :func:`turns.timed` does."""
    use_threads(threads)
    step = {"train": training, "infer": inference}[kind](name)

    def answer(request: tuple[int, float]) -> list[float]:
        step()  # wakes its threads
        return timed(step, *request)

    return answer


class Steps(Worker):
    """A checkout in a process of its own; this one where none is given."""

    def __init__(self, checkout: Path | None, kind: str, name: str, threads: int) -> None:
        super().__init__("a checkout" if checkout else name, answering, kind, name, threads, checkout=checkout)

    def run(self, steps: int, seconds: float = math.inf) -> list[float]:
        """Return the seconds of so many steps."""
        times: list[float] = self.ask((steps, seconds))
        return times


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
    rows = []
    for kind, name in [("train", n) for n in options.train] + [("infer", str(p.resolve())) for p in options.infer]:
        checkouts = {"before": options.before.resolve(), "after": options.after.resolve()}
        workers = {which: Steps(path, kind, name, options.threads) for which, path in checkouts.items()}
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
