"""``caffelite time``."""

import argparse
import json

from caffelite.cli.common import add_file, compiling, file_of, net_of, prepare_data, say_notices, stages_of
from caffelite.errors import Error

HELP = "Time forward and backward of each layer."
EXAMPLES = """examples:
  caffelite time models/cifar10_bn.prototxt
  caffelite time models/lenet.prototxt --iterations 200 --json
  caffelite time -model net.prototxt -phase TEST     forward alone, as the net is used"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_file(parser, ("--model", "--solver"), "a net, or a solver that names one")
    parser.add_argument("--iterations", type=int, default=50, help="passes to average over (50)")
    parser.add_argument("--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="phase of the net (TRAIN)")
    parser.add_argument("--weights", help="weights to run with")
    parser.add_argument("--data", metavar="DIR", help="folder with the original files of CIFAR-10 or MNIST")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(options: argparse.Namespace) -> None:
    """Measure."""
    from caffelite.layers.base import TEST, TRAIN
    from caffelite.net import Net

    if options.iterations < 1:
        raise Error(f"--iterations is {options.iterations}, expected at least 1")
    document = net_of(file_of(options))
    used = prepare_data(document.message, options.data)
    backward = options.phase == "TRAIN"
    with compiling():
        net = Net(document, TRAIN if backward else TEST, weights=options.weights, level=options.level,
                  stages=stages_of(options))  # fmt: skip
        net.profile(2, backward)  # the first pass starts threads and fills caches
    before = {layer.name: getattr(layer, "waited", 0.0) for layer in net.layers}
    times = net.profile(options.iterations, backward)
    waited = sum(getattr(layer, "waited", 0.0) - before[layer.name] for layer in net.layers) / options.iterations
    net.close()
    forward_sum, backward_sum = sum(t.forward for t in times), sum(t.backward for t in times)
    total = forward_sum + backward_sum
    if options.json:
        print(json.dumps({
            "iterations": options.iterations, "forward_ms": forward_sum * 1e3, "backward_ms": backward_sum * 1e3,
            "waited_for_data_ms": waited * 1e3,
            "layers": [{"name": t.name, "type": t.type, "forward_ms": t.forward * 1e3, "backward_ms": t.backward * 1e3}
                       for t in times],
        }))  # fmt: skip
        return
    wide = max([len(t.name) for t in times] + [5])
    kind = max([len(t.type) for t in times] + [4])
    print(f"{'layer':{wide}s}  {'type':{kind}s}  {'forward':>9s}  {'backward':>9s}  share")
    for t in times:
        share = (t.forward + t.backward) / total if total else 0
        print(
            f"{t.name:{wide}s}  {t.type:{kind}s}  {t.forward * 1e3:6.3f} ms  {t.backward * 1e3:6.3f} ms  {share:5.1%}"
        )
    print(f"{'all':{wide}s}  {'':{kind}s}  {forward_sum * 1e3:6.3f} ms  {backward_sum * 1e3:6.3f} ms")
    print(f"mean of {options.iterations} passes; waited for data: {waited * 1e3:.3f} ms a pass")
    say_notices(used)
