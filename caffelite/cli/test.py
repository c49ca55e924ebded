"""``caffelite test``."""

import argparse
import json
import sys
from typing import Any

from caffelite.cli.common import add_file, compiling, file_of, net_of, prepare_data, say_notices, stages_of
from caffelite.errors import Error

HELP = "Measure a trained net: accuracy, loss and its other outputs."
EXAMPLES = """examples:
  caffelite test models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite test models/cifar10_bn.prototxt --weights W --stats batch   BatchNorm by the statistics of each test batch
  caffelite test models/lenet.prototxt --weights W --iterations 10 --json
  caffelite test -model net.prototxt -weights W -iterations 10   Caffe's own spelling"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_file(parser, ("--model", "--solver"), "a net, or a solver that names one")
    parser.add_argument("--weights", required=True, help="a .caffemodel (or .h5); several with commas between")
    parser.add_argument("--iterations", type=int, help="number of batches (the whole test set once; else 50)")
    parser.add_argument("--stats", choices=("global", "batch"),
                        help="BatchNorm by stored statistics or by those of each batch (as the net says)")  # fmt: skip
    parser.add_argument("--data", metavar="DIR", help="folder with the original files of CIFAR-10 or MNIST")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")


def run(options: argparse.Namespace) -> None:
    """Test."""
    from tqdm import tqdm

    from caffelite.layers.base import TEST
    from caffelite.net import Net
    from caffelite.solvers.solver import epoch_iterations, run_test

    document = net_of(file_of(options))
    used = prepare_data(document.message, options.data)
    stats = {"global": True, "batch": False, None: None}[options.stats]
    with compiling():
        net = Net(document, TEST, level=options.level, stages=stages_of(options), global_stats=stats)
    for weights in options.weights.split(","):
        net.copy_from(weights)
    iterations = options.iterations if options.iterations is not None else epoch_iterations(net) or 50
    if iterations < 1:
        raise Error(f"--iterations is {iterations}, expected at least 1")
    if not net.outputs:
        raise Error(f'net "{net.name}" has no outputs in the TEST phase')
    with compiling(), tqdm(total=iterations, unit="batch", leave=False, disable=not sys.stderr.isatty()) as bar:
        outputs, loss = run_test(net, iterations, lambda: bar.update() and False)
    net.close()
    if options.json:
        values: dict[str, Any] = {}
        for output in outputs:
            values.setdefault(output.name, []).append(output.value)
        result = {name: v[0] if len(v) == 1 else v for name, v in values.items()}
        print(json.dumps({"iterations": iterations, "loss": loss, "outputs": result}))
    else:
        print(f"Loss: {loss:g}")
        for output in outputs:
            print(str(output).split(": ", 1)[1])
    say_notices(used)
