"""Measure a trained net on its test set: the mean of every output, over the whole set once."""

import argparse
import json
from math import isfinite
from textwrap import indent
from typing import Any

from caffelite.cli.arguments import (
    UsageError,
    add_data,
    add_gpu,
    add_output_root,
    add_python,
    add_state,
    add_threads,
    add_transfer,
    names,
    the_file,
    the_gpu,
    transfer_options,
    whole,
)
from caffelite.cli.predictions import add_predictions, check_predictions, class_table, predictions_of, write_predictions
from caffelite.cli.preparing import nets_of, notices_of, prepare_data
from caffelite.cli.progress import TestLog, compiling
from caffelite.cli.report import accuracies, by_name, not_a_number, plain, summary
from caffelite.cli.terminal import on_terminal, progress, say, status
from caffelite.gpu.choice import Gpu, cost
from caffelite.net import Net
from caffelite.report.predictions import Predictions
from caffelite.solvers.logs import Output
from caffelite.solvers.non_finite import explain
from caffelite.solvers.sources import NetSource
from caffelite.solvers.testing import TestBatch, epoch_iterations, records_per_pass, run_test
from caffelite.words import TEST

EXAMPLES = """examples:
  caffelite test models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel
  caffelite test models/cifar10_bn.prototxt --weights snapshots/cifar10_bn_iter_5000.caffemodel --stats batch
  caffelite test models/lenet_solver.prototxt --weights snapshots/lenet_iter_5000.caffemodel --json
  caffelite test models/cifar10_bn.prototxt --weights a.caffemodel --confusion confusion.png --worst worst.png
  caffelite test -model models/lenet.prototxt -weights snapshots/lenet_iter_5000.caffemodel -iterations 100

--stats overrides use_global_stats of every BatchNorm: "global" normalises with the stored averages, "batch"
with the statistics of each test batch, so that its result depends on the batch size.

--confusion writes which classes are taken for which, as .csv or as a picture, and the accuracy of each class is told;
--worst draws the images of the test set with the largest losses. Each image counts once.
"""

#: As in Caffe; only for nets that do not know how much data they have.
_ITERATIONS = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", nargs="?", metavar="NET_OR_SOLVER", help="prototxt of a net or of a solver")
    add("--model", metavar="NET", help="the same, as Caffe has it")
    add("--weights", type=names, metavar="A,B", help="weights, later files over earlier ones")
    add("--iterations", type=whole, metavar="N", help="number of batches (the whole test set once)")
    add("--stats", choices=("global", "batch"), help="statistics that every BatchNorm normalises with")
    add("--json", action="store_true", help="print the result as JSON")
    add_predictions(parser)
    add_data(parser)
    add_state(parser)
    add_transfer(parser)
    add_threads(parser)
    add_gpu(parser)
    add_python(parser)
    add_output_root(parser)


def run(arguments: argparse.Namespace) -> int:
    """Test, and print the result."""
    file = the_file([arguments.file, arguments.model], "the prototxt of a net or of a solver")
    if not arguments.weights:
        raise UsageError("give the weights to test with --weights: the .caffemodel of a snapshot")
    gpu = the_gpu(arguments)
    sources = nets_of(file, TEST, arguments.level, arguments.stage)
    check_predictions(arguments, file, len(sources))
    prepared = prepare_data(sources, arguments.data, say)
    notices = notices_of(prepared)
    with compiling():
        results = [{**_test(source, arguments, gpu), "notices": notices} for source in sources]
    if arguments.json:
        print(json.dumps(results if len(results) > 1 else results[0]))
    else:
        tables = [class_table(result["classes"]) for result in results if arguments.confusion]
        print("\n".join([result["summary"] for result in results] + notices + tables))
    return int(any(result["loss"] is None for result in results))


def _test(source: NetSource, arguments: argparse.Namespace, gpu: Gpu | None) -> dict[str, Any]:
    """Test one net; return what was found."""
    stats = None if arguments.stats is None else arguments.stats == "global"
    with status("building the net"):
        net = source.net(
            global_stats=stats, allow_python=arguments.allow_python, output_root=arguments.output_root, gpu=gpu
        )
    before = (0, 0.0) if gpu is None else (gpu.bytes, gpu.seconds)
    try:
        for path in arguments.weights:
            taken = net.copy_from(path, **transfer_options(arguments, arguments.weights))
            if table := taken.table():
                say(f"{path}: weights of {len(taken.taken)} layers are taken\n{indent(table, '  ')}")
        iterations, data = extent(net, arguments.iterations)
        predictions, classes = predictions_of(net, arguments)
        outputs, loss, where = _score(net, iterations, predictions)
        if gpu is not None:
            say(cost(gpu, iterations, before))
        if where:
            say(where)
    finally:
        net.close()
    weights = ", ".join(arguments.weights)
    told = {} if predictions is None else {"classes": write_predictions(predictions, classes, source, arguments)}
    text = f"{source.document.filename} with {weights}: {summary(outputs, accuracies([net]))} over {data}"
    bad = not_a_number([loss])
    return {
        "net": source.document.filename,
        "weights": arguments.weights,
        "iterations": iterations,
        "stats": arguments.stats or "as set",
        "loss": plain(loss),
        "outputs": plain(by_name(outputs)),
        **told,
        "summary": f"{text}; {bad}" if bad else text,
    }


def extent(net: Net, asked: int | None) -> tuple[int, str]:
    """Return the number of batches, and what they hold in words."""
    whole_set = epoch_iterations(net)
    iterations = asked or whole_set or _ITERATIONS
    batches = f"{iterations} batch{'es' if iterations > 1 else ''}"
    if asked or whole_set is None:
        return iterations, batches
    records = max(getattr(layer, "epoch_size", 0) for layer in net.layers)
    again = iterations * records_per_pass(net) - records
    twice = f", the last one filled up with the first {again} again" if again else ""
    return iterations, f"{records} records in {batches}{twice}"


def _score(net: Net, iterations: int, predictions: Predictions | None) -> tuple[list[Output], float, str]:
    """Run the batches; return the means of the outputs and of the loss, and where the first that is not finite is."""
    records = max((getattr(layer, "epoch_size", 0) or 0 for layer in net.layers), default=0)
    log = TestLog()
    log.on_begin(iterations)
    where = ""
    with progress(iterations, "testing") as advance:

        def on_batch(batch: TestBatch) -> None:
            nonlocal where
            if not on_terminal():
                log.on_batch(batch.done - 1, batch.outputs)
            # A last batch is filled up with the first images again.
            if predictions is not None:
                predictions.add(max(records - predictions.images, 0) if records else None)
            if not where and not isfinite(batch.loss):
                where = f"batch {batch.done}: the loss is {batch.loss:g}; {explain(net)}"
            advance()

        means, loss = run_test(net, iterations, on_batch=on_batch)
    log.on_means(loss, means)
    return means, loss, where
