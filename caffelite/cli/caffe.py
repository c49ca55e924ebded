"""Caffe's own program: its options, the lines of its log on standard error, and its exit codes. An error is a line of
the log as well, and the exit code is then 134, which a shell tells of a program that has ended itself."""

import argparse
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter

from caffelite.cli import device_query
from caffelite.cli.arguments import add_gpu, add_python, add_state, add_threads, names, the_gpu, whole
from caffelite.cli.endings import ENDINGS
from caffelite.cli.glog import Glog, add_glog, told_as_fatal
from caffelite.cli.preparing import prepare_data
from caffelite.cli.progress import compiling
from caffelite.cli.signals import EFFECTS, signal_effects
from caffelite.net import LayerTime, Net
from caffelite.schema.text import read_net
from caffelite.solvers.logs import number
from caffelite.solvers.settings import Settings, load_solver
from caffelite.solvers.solver import Solver
from caffelite.solvers.sources import NetSource
from caffelite.solvers.testing import run_test
from caffelite.words import TEST, TRAIN

EXAMPLES = """commands:
  train         train a net (-solver)
  test          measure a trained net (-model, -weights)
  time          measure how long each layer takes (-model)
  device_query  tell which GPUs there are

examples:
  caffelite caffe train -solver models/lenet_solver.prototxt
  caffelite caffe train --solver=models/lenet_solver.prototxt --snapshot=snapshots/lenet_iter_5000.solverstate
  caffelite caffe test -model models/lenet.prototxt -weights snapshots/lenet_iter_5000.caffemodel -iterations 100
  caffelite caffe time -model models/lenet.prototxt -iterations 10

"pip install ./caffe-package" installs it as "caffe"; a link of that name to caffelite is the same program.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes; as in Caffe, every action takes every option."""
    add = parser.add_argument
    add("action", nargs="?", metavar="COMMAND", help="train, test, time or device_query")
    add("--solver", metavar="FILE", help="prototxt of a solver")
    add("--model", metavar="FILE", help="prototxt of a net")
    add("--snapshot", metavar="STATE", help="solver state to go on from")
    add("--weights", type=names, default=[], metavar="A,B", help="weights, later files over earlier ones")
    add("--iterations", type=whole, default=50, metavar="N", help="number of batches of test and time (50)")
    add("--phase", choices=("TRAIN", "TEST"), default="TRAIN", help="phase of the net, for time (TRAIN)")
    add_state(parser)
    add_gpu(parser)
    add("--sigint-effect", choices=EFFECTS, default="stop", help="what Ctrl-C does to a training (stop)")
    add("--sighup-effect", choices=EFFECTS, default="snapshot", help="what a hangup does to it (snapshot)")
    add_glog(parser)
    add_threads(parser)
    add_python(parser)
    parser.set_defaults(usage=parser.format_help)


def run(arguments: argparse.Namespace) -> int:
    """Do what is asked for; without a command, tell what can be."""
    if arguments.action is None:
        print(arguments.usage(), end="")
        return 0
    log = Glog.chosen(arguments)
    action = _ACTIONS.get(arguments.action)
    if action is None:
        return log.fatal("caffe.cpp:76", f"Unknown action: {arguments.action}; there are {', '.join(_ACTIONS)}")
    with compiling(log.on_say):
        return told_as_fatal(log, partial(action, arguments, log))


def _train(arguments: argparse.Namespace, log: Glog) -> int:
    if not arguments.solver:
        return log.fatal("caffe.cpp:155", "Need a solver definition to train.")
    if arguments.snapshot and arguments.weights:
        return log.fatal("caffe.cpp:157", "Give a snapshot to resume training or weights to finetune but not both.")
    document = load_solver(Path(arguments.solver))
    net_state = document.message.train_state
    net_state.level = arguments.level
    net_state.stage.extend(arguments.stage)
    settings = Settings(document)
    prepare_data([settings.train_net(), *settings.test_nets()], None, log.on_say)
    weights = [] if arguments.snapshot else arguments.weights or None
    # As in Caffe, a loss that is not a number does not end the run.
    solver = Solver(
        settings,
        log,
        weights=weights,
        allow_python=arguments.allow_python,
        gpu=arguments.gpu,
        non_finite="warn",
    )
    try:
        for net in (solver.net, *solver.test_nets):
            log.on_net(net)
        if arguments.snapshot:
            state = _state(arguments.snapshot, log)
            log.on_log("caffe.cpp:235", f"Resuming from {state}")
            solver.restore(state)
        log.on_log("caffe.cpp:239", "Starting Optimization")
        with signal_effects(solver, arguments.sigint_effect, arguments.sighup_effect, log.on_say) as asked:
            solver.solve()
        log.on_log("caffe.cpp:250", "Optimization Done.")
    finally:
        solver.close()
    return ENDINGS[signal.SIGTERM][1] if asked.terminated else 0


def _state(path: str, log: Glog) -> str:
    """Return the state to go on from; scripts of Caffe's name one that their solver has written as HDF5 since 2015."""
    if not Path(path).exists() and Path(f"{path}.h5").exists():
        log.on_say(f"there is no {path}; going on from {path}.h5")
        return f"{path}.h5"
    return path


def _test(arguments: argparse.Namespace, log: Glog) -> int:
    if not arguments.model:
        return log.fatal("caffe.cpp:258", "Need a model definition to score.")
    if not arguments.weights:
        return log.fatal("caffe.cpp:259", "Need model weights to score.")
    net = _net(arguments, TEST, log)
    try:
        for path in arguments.weights:
            net.copy_from(path)
        log.on_begin(arguments.iterations)
        outputs, loss = run_test(
            net, arguments.iterations, on_batch=lambda batch: log.on_batch(batch.done - 1, batch.outputs)
        )
        log.on_means(loss, outputs)
    finally:
        net.close()
    return 0


def _time(arguments: argparse.Namespace, log: Glog) -> int:
    if not arguments.model:
        return log.fatal("caffe.cpp:330", "Need a model definition to time.")
    phase = TEST if arguments.phase == "TEST" else TRAIN
    net = _net(arguments, phase, log)
    try:
        log.on_log("caffe.cpp:355", "Performing Forward")
        loss = net.forward()
        log.on_log("caffe.cpp:360", f"Initial loss: {number(loss)}")
        if phase == TRAIN:
            log.on_log("caffe.cpp:361", "Performing Backward")
            net.backward()
        log.on_log("caffe.cpp:369", "*** Benchmark begins ***")
        log.on_log("caffe.cpp:370", f"Testing for {arguments.iterations} iterations.")
        begun = perf_counter()
        rounds = [_timed(net, i, phase == TRAIN, log) for i in range(arguments.iterations)]
        _times(rounds, 1000 * (perf_counter() - begun), log)
    finally:
        net.close()
    return 0


def _timed(net: Net, index: int, backward: bool, log: Glog) -> list[LayerTime]:
    begun = perf_counter()
    times = net.profile(1, backward)
    milliseconds = 1000 * (perf_counter() - begun)
    log.on_log("caffe.cpp:398", f"Iteration: {index + 1} forward-backward time: {number(milliseconds)} ms.")
    return times


def _times(rounds: list[list[LayerTime]], total: float, log: Glog) -> None:
    """Write the means of the rounds, of each layer and of the net; layers that run as one kernel are one."""
    scale = 1000 / len(rounds)
    log.on_log("caffe.cpp:401", "Average time per layer: ")
    for same in zip(*rounds, strict=True):
        for way in ("forward", "backward"):
            mean = scale * sum(getattr(one, way) for one in same)
            log.on_log("caffe.cpp:404", f"{same[0].name:>10}\t{way}: {number(mean)} ms.")
    for way in ("Forward", "Backward"):
        mean = scale * sum(getattr(one, way.lower()) for times in rounds for one in times)
        log.on_log("caffe.cpp:412", f"Average {way} pass: {number(mean)} ms.")
    log.on_log("caffe.cpp:416", f"Average Forward-Backward: {number(total / len(rounds))} ms.")
    log.on_log("caffe.cpp:418", f"Total Time: {number(total)} ms.")
    log.on_log("caffe.cpp:419", "*** Benchmark ends ***")


def _net(arguments: argparse.Namespace, phase: int, log: Glog) -> Net:
    gpu = the_gpu(arguments)
    if gpu is not None:
        log.on_log("caffe.cpp:266", f"Use GPU with device ID {arguments.gpu}")
    source = NetSource(
        read_net(arguments.model), arguments.level, tuple(arguments.stage), phase, f"net file: {arguments.model}"
    )
    prepare_data([source], None, log.on_say)
    net = source.net(allow_python=arguments.allow_python, gpu=gpu)
    log.on_net(net)
    return net


def _device_query(arguments: argparse.Namespace, log: Glog) -> int:
    log.on_log("caffe.cpp:113", f"Querying GPUs {'all' if arguments.gpu is None else arguments.gpu}")
    answer = device_query.query(() if arguments.gpu is None else (arguments.gpu,))
    for line in device_query.told(answer).splitlines():
        log.on_log("common.cpp:195", line)
    return 0


_ACTIONS: dict[str, Callable[[argparse.Namespace, Glog], int]] = {
    "train": _train,
    "test": _test,
    "time": _time,
    "device_query": _device_query,
}
