"""Find out why a net with batch normalization is bad in the test, if it is, and show it on a page: what is wrong in
words, and the one command that mends it; what the stored statistics are worth beside others, how far they are from the
data, what folding changes, and the findings of "bn check" beside their lines."""

import argparse
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from caffelite.batchnorm.check import check
from caffelite.batchnorm.subject import subject_of, take_weights
from caffelite.cli.arguments import add_running, the_file, whole
from caffelite.cli.bn_check import finding_rows
from caffelite.cli.outputs import check_outputs, without_ending
from caffelite.cli.preparing import nets_and_solver, notices_of, prepare_data
from caffelite.cli.progress import compiling
from caffelite.cli.terminal import amount, say
from caffelite.errors import NetError
from caffelite.pages.page import write_page
from caffelite.report.bn_measuring import Measured, Task, measure
from caffelite.report.bn_page import bn_page
from caffelite.report.bn_verdict import Commands, verdict
from caffelite.words import TEST

EXAMPLES = """examples:
  caffelite bn report models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite bn report models/cifar10_bn.prototxt --weights w.caffemodel report.html --images 2000
  caffelite bn report models/mnist_mlp_bn_solver.prototxt --weights w.caffemodel --json

The page is one file that needs no network. Every figure takes up to --images test images and training images (10000);
for a large net give fewer. Nothing is changed: the command that the page ends its answer with does that.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", metavar="NET_OR_SOLVER", help="prototxt of a net or of a solver")
    add("out", nargs="?", type=Path, metavar="OUT.html", help="where the page goes (WEIGHTS_bn.html)")
    add("--weights", required=True, metavar="FILE", help="the trained weights")
    add("--images", type=whole, default=10000, metavar="N", help="the most images to look at for a figure (10000)")
    add("--json", action="store_true", help="print the result as JSON")
    add_running(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check, measure, write the page, and print the answer."""
    file = the_file([arguments.file], "the prototxt of a net or of a solver")
    weights = Path(arguments.weights)
    out = arguments.out or Path(f"{without_ending(weights)[0]}_bn.html")
    check_outputs({out: weights}, "is the file the weights are read from; give another name for the page")
    train, tests, solver = nets_and_solver(file, arguments.level, arguments.stage)
    test = tests[0] if tests else train._replace(phase=TEST)
    subject = subject_of(train, tests, solver, arguments.allow_python)
    take_weights(subject, [arguments.weights])
    checked = check(subject)
    if not checked.layers:
        raise NetError(f"{file}: there is no layer of batch normalization in it, so there is nothing to report")
    notices = notices_of(prepare_data([train, test], arguments.data, say))
    measured = Measured()
    # Weights of another layout do not fit into the net, and are found already.
    if any(rule.name == "fork-layout" for rule, _ in checked.findings):
        measured.no_test = measured.no_train = measured.no_folding = "the weights have another fork's layout"
    else:
        with compiling():
            measured = measure(Task(train, test, subject, arguments.images, arguments.allow_python, _shown))
        checked = check(subject)
    commands = Commands(str(file), arguments.weights)
    answer = verdict(checked, measured, commands)
    write_page(out, bn_page(checked, measured, answer, commands))
    if arguments.json:
        result = {"page": str(out), **asdict(answer), "measured": _plain(asdict(measured))}
        print(json.dumps({**result, "findings": finding_rows(checked), "notices": notices}))
    else:
        print("\n".join([*answer.sentences, f"  {answer.command}", f"The whole report: {out}", *notices]))
    return 0


def _shown(text: str, images: int) -> AbstractContextManager[Callable[[int], object]]:
    return amount(images, text, " images")


def _plain(value: Any) -> Any:
    """Return a value as JSON can have it: what is not a number is null."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not isfinite(value) else value
