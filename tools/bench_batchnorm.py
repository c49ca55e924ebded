"""BatchNorm in training, alone, beside a copy of as many bytes and beside PyTorch (``pip install .[bench]``).

For each shape, forward (reads x, writes y) and backward (reads y and dy, writes dx) are timed in turns with a copy that
moves the same number of bytes, and with PyTorch's ``batch_norm`` without scale and shift. A line has the median time of
each, and its ratio to the copy (the smaller the better; 1 is the speed of memory), with the spread over the rounds.
"""

import argparse
import dataclasses
import json
from collections.abc import Callable
from functools import partial

import numpy as np
from turns import in_turns, machine, timed, use_threads

SHAPES = [(100, 32, 16, 16), (100, 64, 8, 8), (100, 32, 32, 32), (32, 64, 56, 56), (32, 128, 28, 28), (32, 256, 56, 56)]


def steps_of(shape: tuple[int, ...]) -> dict[str, dict[str, Callable[[], None]]]:
    """Return, for forward and backward, what is timed."""
    import torch

    from caffelite.kernels.batchnorm import backward as batchnorm_backward
    from caffelite.kernels.batchnorm import forward as batchnorm_forward
    from caffelite.kernels.batchnorm.statistics import Constants
    from caffelite.kernels.engine.arrays import copy, zeros
    from caffelite.kernels.engine.calls import Row

    channels, length = shape[1], shape[2] * shape[3]
    size = shape[0] * channels * length
    rng = np.random.default_rng(1)
    x, y, dy, dx = (zeros(size) for _ in range(4))
    x[...], dy[...] = rng.standard_normal((2, size), np.float32)
    stored, inverse_std = (zeros(channels), zeros(channels), zeros(1)), zeros(channels)
    mean, constants = zeros(channels, np.float64), Constants(1e-5, 0.999)
    # A copy reads and writes an element; backward moves three.
    source, target = zeros(size * 3 // 2), zeros(size * 3 // 2)
    source.fill(1)  # Memory that was never written to is one page of zeros, which stays in the cache.
    leaf = torch.from_numpy(x.reshape(shape)).clone().requires_grad_()
    gradient = torch.from_numpy(dy.reshape(shape))

    def forward() -> "torch.Tensor":
        return torch.nn.functional.batch_norm(leaf, None, None, training=True)

    out = forward()
    return {
        "forward": {
            "copy": copy(source[:size], target[:size]),
            "caffelite": Row(batchnorm_forward.by_batch(x, y, channels, length, constants, stored, mean, inverse_std)),
            "PyTorch": lambda: forward().detach_(),
        },
        "backward": {
            "copy": copy(source, target),
            "caffelite": Row(batchnorm_backward.by_batch(y, dy, dx, channels, length, inverse_std)),
            "PyTorch": lambda: torch.autograd.grad(out, leaf, gradient, retain_graph=True) and None,
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", help="images x channels x height x width, as in 100x32x16x16 (six shapes)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each program a round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    use_threads(options.threads)
    import torch

    torch.set_num_threads(options.threads)
    rows = []
    for shape in [tuple(map(int, text.split("x"))) for text in options.shapes] or SHAPES:
        for direction, steps in steps_of(shape).items():
            found = in_turns(
                {who: partial(timed, step) for who, step in steps.items()}, options.rounds, options.seconds
            )
            for who, result in found.items():
                rows.append({"shape": shape, "pass": direction, "program": who, **dataclasses.asdict(result)})
                if not options.json:
                    print(f"{'x'.join(map(str, shape)):15s} {direction:8s} {who:10s} {result}", flush=True)
    facts = {**machine(options.threads), "torch": torch.__version__}
    print(json.dumps({"facts": facts, "rows": rows}, indent=1) if options.json else facts)


if __name__ == "__main__":
    main()
