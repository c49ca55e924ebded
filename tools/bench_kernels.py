"""Each family of kernels alone, forward and backward, on given shapes; beside the figures of another time or checkout.

    python tools/bench_kernels.py --json before.json
    python tools/bench_kernels.py --against before.json
    python tools/bench_kernels.py --family winograd --family depthwise 1x64x56x56 8x128x28x28

A family is a net of one layer; the layer chooses the kernel, as in any net. Passes: ``forward`` (in a convolution with
the packing of its weights), ``data`` and ``weights``, the gradients. A line has the median and the least time of a pass
over all rounds, in which families take turns, and with ``--against`` their ratios to the other figures. On a machine
that has more to do, the least times say more.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from turns import machine, use_threads

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Family:
    """A layer whose kernels are timed.

    Attributes
    ----------
    type, settings : str
        As in a prototxt; ``<channels>`` stands for those of the shape.
    shapes : list of tuple of int
        Of the bottom, where none is given.
    learns : bool
        Whether it has weights.
    """

    type: str
    settings: str
    shapes: list[Shape]
    learns: bool = True

    @property
    def passes(self) -> list[str]:
        """The passes that are timed."""
        return ["forward", "data", "weights"] if self.learns else ["forward", "data"]

    def net(self, shape: Shape, direction: str) -> str:
        """Return the prototxt of a net of this layer, where ``direction`` is all there is to do backward.

        Its top is a loss, so that there is a gradient to pass on; to the data it is passed on to a Bias that learns.
        """
        settings, bottom = self.settings.replace("<channels>", str(shape[1])), "x"
        dims = " ".join(f"dim: {n}" for n in shape)
        text = f'layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ {dims} }} }} }}\n'
        if direction == "data":
            text += 'layer { name: "before" type: "Bias" bottom: "x" top: "b" }\n'
            bottom = "b"
            if self.learns:
                settings += " param { lr_mult: 0 } param { lr_mult: 0 }"
        return text + (
            f'layer {{ name: "one" type: "{self.type}" bottom: "{bottom}" top: "y" loss_weight: 1 {settings} }}\n'
        )


def convolution(settings: str, *shapes: Shape) -> Family:
    """Return a family of convolutions."""
    return Family("Convolution", f"convolution_param {{ {settings} weight_filler {{ type: 'xavier' }} }}", list(shapes))


def pooling(method: str) -> Family:
    """Return a family of poolings."""
    settings = f"pooling_param {{ pool: {method} kernel_size: 3 stride: 2 }}"
    return Family("Pooling", settings, [(16, 32, 32, 32)], learns=False)


def lrn(region: str, shape: Shape) -> Family:
    """Return a family of LRN."""
    settings = f"lrn_param {{ local_size: 5 alpha: 0.0001 beta: 0.75 norm_region: {region} }}"
    return Family("LRN", settings, [shape], learns=False)


PRODUCT = "inner_product_param { num_output: 256 weight_filler { type: 'xavier' } }"
FAMILIES = {
    "direct": convolution("num_output: 64 kernel_size: 3 stride: 2 pad: 1", (8, 32, 56, 56), (1, 3, 224, 224)),
    "winograd": convolution("num_output: <channels> kernel_size: 3 pad: 1", (4, 64, 56, 56), (16, 128, 14, 14)),
    "winograd5": convolution("num_output: <channels> kernel_size: 5 pad: 2", (16, 32, 16, 16)),
    "depthwise": convolution(
        "num_output: <channels> group: <channels> kernel_size: 3 pad: 1", (4, 64, 56, 56), (4, 256, 14, 14)
    ),
    "1x1": convolution("num_output: 64 kernel_size: 1", (4, 64, 56, 56), (4, 256, 14, 14)),
    "inner_product": Family("InnerProduct", PRODUCT, [(64, 512), (1, 4096)]),
    "max_pooling": pooling("MAX"),
    "ave_pooling": pooling("AVE"),
    "batchnorm": Family("BatchNorm", "", [(32, 32, 16, 16), (8, 64, 56, 56)], learns=False),
    "lrn": lrn("ACROSS_CHANNELS", (8, 64, 28, 28)),
    "lrn_within": lrn("WITHIN_CHANNEL", (8, 32, 16, 16)),
}


def passes(families: list[str], shapes: list[Shape]) -> dict[tuple[str, Shape, str], Callable[[], float]]:
    """Return, for each (family, shape, pass), what runs it once and returns the seconds it took."""
    from caffelite.net import Net
    from caffelite.schema.text import net_from_text

    steps: dict[tuple[str, Shape, str], Callable[[], float]] = {}
    for family in families:
        for shape in shapes or FAMILIES[family].shapes:
            for direction in FAMILIES[family].passes:
                text = FAMILIES[family].net(shape, direction)
                net = Net(net_from_text(text, f"{family}.prototxt"), seed=1)
                net.blobs["x"].data[...] = np.random.default_rng(1).standard_normal(shape)

                def step(net: Any = net, backward: bool = direction != "forward") -> float:
                    (time,) = (time for time in net.profile(1, backward) if time.name == "one")
                    return float(time.backward if backward else time.forward)

                steps[family, shape, direction] = step
    return steps


def measure(
    steps: dict[tuple[str, Shape, str], Callable[[], float]], rounds: int, seconds: float
) -> dict[tuple[str, Shape, str], list[float]]:
    """Return the seconds of each run of each pass: in ``rounds`` rounds of about ``seconds`` a pass."""
    times: dict[tuple[str, Shape, str], list[float]] = {key: [] for key in steps}
    runs = {key: max(int(seconds / max(step(), step())), 1) for key, step in steps.items()}
    for _ in range(rounds):
        for key, step in steps.items():
            times[key] += [step() for _ in range(runs[key])]
    return times


def text_of(row: dict[str, Any], other: dict[str, Any] | None) -> str:
    """Return the line of a pass, with its ratios to the same pass in other figures."""
    line = f"{row['family']:14s} {'x'.join(map(str, row['shape'])):14s} {row['pass']:8s}"
    line += f" median {row['median']:9.4f} ms  least {row['least']:9.4f} ms"
    if other is not None:
        line += f"   ratio {row['median'] / other['median']:.3f}  {row['least'] / other['least']:.3f}"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shapes", nargs="*", help="images x channels x height x width, as in 8x64x56x56")
    parser.add_argument(
        "--family", action="append", choices=sorted(FAMILIES), help="one of them alone; repeated: several"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.05, help="of each pass a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--against", type=Path, metavar="FILE", help="print ratios to figures that --json has written")
    options = parser.parse_args()
    try:
        shapes = [tuple(int(n) for n in text.split("x")) for text in options.shapes]
        figures = json.loads(options.against.read_text()) if options.against else {"rows": []}
        others = {(row["family"], tuple(row["shape"]), row["pass"]): row for row in figures["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"a shape is numbers joined by x, and --against a file that --json has written: {error}")
    use_threads(options.threads)
    steps = passes(options.family or list(FAMILIES), shapes)
    rows = []
    for key, times in measure(steps, options.rounds, options.seconds).items():
        family, shape, direction = key
        amounts = {"median": statistics.median(times) * 1e3, "least": min(times) * 1e3}
        rows.append({"family": family, "shape": list(shape), "pass": direction, **amounts})
        print(text_of(rows[-1], others.get(key)), flush=True)
    if options.json:
        options.json.write_text(json.dumps({"facts": machine(options.threads), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
