"""BatchNorm in training on a GPU, beside PyTorch and beside a copy (``pip install -e .[bench,cuda]``).

Over 20 shapes, 18 of ResNet-50 and 2 of ``models/cifar10_bn.prototxt``, forward and backward, with a learned scale and
shift; and the same with a ReLU behind it, which here is the same kernel, in PyTorch another one.

Times are medians, by CUDA events, after a warm-up. Each call has other arrays than the one before, more of them than
fit into the L2 cache, so that nothing is found there by luck. The time on the GPU is taken from a graph of these calls:
what Python and PyTorch take to start them does not count; ``--calls`` counts it. The rate is told against that of a
copy, measured before and after. What a pass moves at the least: forward, x twice and y; backward, x and dy twice and
dx. Where a channel's second reading comes out of the cache, a rate may be higher than a copy's.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from caffelite.gpu.choice import gpu_or_reason

#: Images, channels, height, width.
RESNET = [
    *[
        (32, *rest)
        for rest in [
            (64, 112, 112),
            (64, 56, 56),
            (256, 56, 56),
            (128, 56, 56),
            (128, 28, 28),
            (512, 28, 28),
            (256, 28, 28),
            (256, 14, 14),
            (1024, 14, 14),
            (512, 14, 14),
            (512, 7, 7),
            (2048, 7, 7),
        ]
    ],
    *[
        (128, *rest)
        for rest in [(64, 112, 112), (64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    ],
]
CIFAR = [(100, 32, 16, 16), (100, 64, 8, 8)]
SHAPES = RESNET + CIFAR
#: How many arrays of x, y, … a pass moves.
MOVED = {"forward": 3, "backward": 5}
TOLERANCE = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2}
COLUMNS = ("shape", "pass", "MB", "ms", "GB/s", "of copy", "torch ms", "ratio")

Call = Callable[[], Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--gpu", type=int, default=0, metavar="ID", help="number of the GPU (0)")
    add("--dtype", choices=tuple(TOLERANCE), default="float32", help="type of the data (float32)")
    add("--rounds", type=int, default=20, metavar="N", help="how often each is timed (20)")
    add("--calls", action="store_true", help="time calls from Python, not a graph of them")
    add("--json", action="store_true", help="print the result as JSON")
    arguments = parser.parse_args()
    gpu, reason = gpu_or_reason(arguments.gpu)
    if gpu is None:
        print(f"There is no GPU to measure: {reason}.", file=sys.stderr)
        return 1
    import torch

    torch.cuda.set_device(arguments.gpu)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        bench = Bench(torch, stream, arguments)
        before = bench.copy()
        rows = [row for shape in SHAPES for row in bench.shape(shape)]
        copied = max(before, bench.copy())
    for row in rows:
        row["of copy"] = row["GB/s"] / copied
    facts = {
        **gpu.device.facts(),
        "torch": torch.__version__,
        "dtype": arguments.dtype,
        "copy": copied,
        "timed": "calls" if arguments.calls else "a graph of calls",
    }
    print(json.dumps({**facts, "rows": rows}) if arguments.json else table(facts, rows))
    return 0


class Bench:
    """Times calls on a stream that is the current one."""

    def __init__(self, torch: Any, stream: Any, arguments: argparse.Namespace) -> None:
        self.torch, self.stream = torch, stream
        self.dtype = getattr(torch, arguments.dtype)
        self.rounds, self.calls = arguments.rounds, arguments.calls
        self.tolerance = TOLERANCE[arguments.dtype]
        self.cache = torch.cuda.get_device_properties(arguments.gpu).L2_cache_size

    def milliseconds(self, calls: Sequence[Call]) -> float:
        """Return the median time of a call; those given do the same with different arrays."""
        torch = self.torch
        for call in calls:
            call()
        self.stream.synchronize()
        each = list(calls)
        if not self.calls:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                for call in calls:
                    call()
            each = [graph.replay]
            graph.replay()
        times = []
        for _ in range(self.rounds):
            for call in each:
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record(self.stream)
                call()
                end.record(self.stream)
                end.synchronize()
                times.append(begin.elapsed_time(end) * len(each) / len(calls))
        return median(times)

    def copy(self) -> float:
        """Return how many GB/s a copy of 512 MB moves, what is read and what is written."""
        source = self.torch.randn(1 << 27, device="cuda")
        target = self.torch.empty_like(source)
        size = 2 * source.numel() * source.element_size()
        return size / self.milliseconds([lambda: target.copy_(source)]) / 1e6

    def shape(self, shape: tuple[int, ...]) -> list[dict[str, Any]]:
        """Return a row for each pass, without and with ReLU."""
        torch = self.torch
        size = torch.empty(0, dtype=self.dtype).element_size()
        for n in shape:
            size *= n
        sets = min(max(2, -(-2 * self.cache // size)), 64)
        rows = []
        for relu in (False, True):
            cases = [Case(torch, self.stream, shape, self.dtype, relu, seed) for seed in range(sets)]
            cases[0].check(self.tolerance)
            for name, moved in MOVED.items():
                ours = self.milliseconds([getattr(case, name) for case in cases])
                theirs = self.milliseconds([getattr(case, f"torch_{name}") for case in cases])
                rows.append(
                    {
                        "shape": "×".join(map(str, shape)),
                        "pass": f"{name}{' + ReLU' if relu else ''}",
                        "MB": moved * size / 1e6,
                        "ms": ours,
                        "GB/s": moved * size / ours / 1e6,
                        "torch ms": theirs,
                        "ratio": theirs / ours,
                    }
                )
        return rows


class Case:
    """Arrays of one shape, and both ways to normalise them."""

    def __init__(self, torch: Any, stream: Any, shape: tuple[int, ...], dtype: Any, relu: bool, seed: int) -> None:
        from caffelite.kernels.cuda import batchnorm

        self.torch, self.relu = torch, relu
        torch.manual_seed(seed)
        channels = shape[1]
        self.x, self.dy = (torch.randn(shape, device="cuda", dtype=dtype) for _ in range(2))
        self.y, self.dx = torch.empty_like(self.x), torch.empty_like(self.x)
        self.factor, self.offset = (torch.randn(channels, device="cuda") for _ in range(2))
        self.d_factor, self.d_offset = torch.empty_like(self.factor), torch.empty_like(self.offset)
        saved = torch.empty((3, channels), device="cuda")
        stored = tuple(torch.zeros(n, device="cuda") for n in (channels, channels, 1))
        how = {
            "factor": self.factor,
            "offset": self.offset,
            "activation": "ReLU" if relu else None,
            "stream": stream,
            "run": False,
        }
        self.forward: Call = batchnorm.forward(self.x, self.y, saved, stored=stored, **how)
        self.backward: Call = batchnorm.backward(
            self.x, self.dy, self.dx, saved, d_factor=self.d_factor, d_offset=self.d_offset, **how
        )
        self.running = torch.zeros(channels, device="cuda"), torch.ones(channels, device="cuda")
        self.leaves = [t.detach().clone().requires_grad_() for t in (self.x, self.factor, self.offset)]
        self.result = self.torch_forward()

    def torch_forward(self) -> Any:
        functional = self.torch.nn.functional
        x, factor, offset = self.leaves
        y = functional.batch_norm(x, *self.running, factor, offset, training=True, momentum=0.001, eps=1e-5)
        return functional.relu(y, inplace=True) if self.relu else y

    def torch_backward(self) -> Any:
        return self.torch.autograd.grad(self.result, self.leaves, self.dy, retain_graph=True)

    def check(self, tolerance: float) -> None:
        """Raise where the two do not agree."""
        self.forward()
        self.backward()
        found = self.y, self.dx, self.d_factor, self.d_offset
        for a, b in zip(found, (self.result, *self.torch_backward()), strict=True):
            away = (a.double() - b.double()).norm() / b.double().norm()
            if not away <= tolerance:
                raise SystemExit(f"{tuple(self.x.shape)}: results differ from PyTorch's by {away:g}")


def table(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    texts = [COLUMNS]
    for row in rows:
        texts.append(
            (
                row["shape"],
                row["pass"],
                f"{row['MB']:.1f}",
                f"{row['ms']:.4f}",
                f"{row['GB/s']:.0f}",
                f"{100 * row['of copy']:.0f}%",
                f"{row['torch ms']:.4f}",
                f"{row['ratio']:.2f}",
            )
        )
    widths = [max(len(text[i]) for text in texts) for i in range(len(COLUMNS))]
    lines = [
        "  ".join(f"{t:<{w}}" if i < 2 else f"{t:>{w}}" for i, (t, w) in enumerate(zip(text, widths, strict=True)))
        for text in texts
    ]
    ratios = [row["ratio"] for row in rows]
    fused = [row["ratio"] for row in rows if "ReLU" in row["pass"]]
    return "\n".join(
        [
            "{name}, PyTorch {torch}, {dtype}, {timed}; a copy: {copy:.0f} GB/s".format(**facts),
            *lines,
            f"ratio to PyTorch: least {min(ratios):.2f}, median {median(ratios):.2f}; "
            f"with ReLU least {min(fused):.2f}, median {median(fused):.2f}",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
