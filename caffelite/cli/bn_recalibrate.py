"""Measure the statistics of BatchNorm anew over the training data, and what that changes on the test set."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from caffelite.batchnorm.recalibrate import Change, recalibrate
from caffelite.batchnorm.statistics import AVERAGES
from caffelite.cli.arguments import add_running, the_file, whole
from caffelite.cli.outputs import check_outputs, without_ending
from caffelite.cli.preparing import nets_of, notices_of, prepare_data
from caffelite.cli.progress import compiling
from caffelite.cli.report import accuracies, by_name, plain, summary
from caffelite.cli.terminal import counted, say, status
from caffelite.cli.test import extent
from caffelite.solvers.sources import NetSource, PrototxtFiles
from caffelite.solvers.testing import epoch_iterations, run_test
from caffelite.words import TEST, TRAIN

EXAMPLES = """examples:
  caffelite bn recalibrate models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite bn recalibrate models/mnist_mlp_bn.prototxt --weights w.caffemodel --iterations 200 --average simple
  caffelite bn recalibrate models/mnist_mlp_bn_solver.prototxt --weights w.caffemodel --out new.caffemodel --json

--average "exact" stores mean and variance of all values seen, "simple" the mean of the batches' means and unbiased
variances, "exponential" what Caffe's moving average would hold after as many iterations.
"""

#: For nets that do not know how much data they have.
_ITERATIONS = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", metavar="NET_OR_SOLVER", help="prototxt of a net or of a solver")
    add("--weights", required=True, metavar="FILE", help="the weights whose statistics are measured anew")
    add("--iterations", type=whole, metavar="N", help="number of training batches (the whole training set once)")
    add("--average", choices=AVERAGES, default="exact", help="what is stored (exact)")
    add("--out", type=Path, metavar="FILE", help="where the new weights go (WEIGHTS_recalibrated.caffemodel)")
    add("--test-iterations", type=whole, metavar="N", help="number of test batches (the whole test set once)")
    add("--json", action="store_true", help="print the result as JSON")
    add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure, write the new weights, and tell what they are worth."""
    file = the_file([arguments.file], "the prototxt of a net or of a solver")
    weights = Path(arguments.weights)
    start, ending = without_ending(weights)
    out = arguments.out or Path(f"{start}_recalibrated{ending}")
    check_outputs({out: weights}, "is the file the weights are read from; give another one with --out")
    files = PrototxtFiles()
    trained = nets_of(file, TRAIN, arguments.level, arguments.stage, files)[0]._replace(phase=TRAIN)
    tested = nets_of(file, TEST, arguments.level, arguments.stage, files)[0]
    prepared = prepare_data([trained, tested], arguments.data, say)
    with compiling():
        before = _tested(tested, weights, arguments)
        changes, iterations = _measured(trained, weights, out, arguments)
        after = _tested(tested, out, arguments)
    notices = notices_of(prepared)
    if arguments.json:
        print(
            json.dumps(
                {
                    "weights": str(weights),
                    "out": str(out),
                    "average": arguments.average,
                    "iterations": iterations,
                    "layers": [plain(dataclasses.asdict(change)) for change in changes],
                    "before": before["outputs"],
                    "after": after["outputs"],
                    "notices": notices,
                }
            )
        )
        return 0
    print(f"{'layer':20s} {'values a batch':>14s} {'mean moved by':>15s} {'variance times':>15s}")
    for change in changes:
        print(f"{change.layer:20s} {change.values:14,d} {change.mean:8.3f} std.dev {change.variance:15.3f}")
    print(f"before: {before['summary']}")
    print(f"after:  {after['summary']}")
    print(f"{arguments.average} statistics of {iterations} training batches are in {out}")
    for notice in notices:
        print(notice)
    return 0


def _tested(source: NetSource, weights: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Test with the stored statistics."""
    with status("building the net"):
        net = source.net(global_stats=True, allow_python=arguments.allow_python, output_root=None)
    try:
        net.copy_from(weights)
        iterations, data = extent(net, arguments.test_iterations)
        with status("testing"):
            outputs, _ = run_test(net, iterations)
        return {"outputs": plain(by_name(outputs)), "summary": f"{summary(outputs, accuracies([net]))} over {data}"}
    finally:
        net.close()


def _measured(source: NetSource, weights: Path, out: Path, arguments: argparse.Namespace) -> tuple[list[Change], int]:
    """Measure over the training data and write the new weights."""
    with status("building the net"):
        net = source.net(global_stats=False, learn=False, allow_python=arguments.allow_python, output_root=None)
    try:
        net.copy_from(weights)
        iterations = arguments.iterations or epoch_iterations(net) or _ITERATIONS
        changes = recalibrate(net, counted(range(iterations), "measuring"), arguments.average)
        net.save(out)
        return changes, iterations
    finally:
        net.close()
