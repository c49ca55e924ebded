"""Train a net: from a solver prototxt, or from a net, whose solver is then the file beside it that is named
NET_solver.prototxt, else documented defaults."""

import argparse
import signal
from contextlib import nullcontext
from pathlib import Path
from time import perf_counter
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
    transfer_options,
    whole,
)
from caffelite.cli.endings import ENDINGS
from caffelite.cli.preparing import notices_of, prepare_data, solver_for
from caffelite.cli.processes import add_processes, exit_code_of_processes, in_turn, largest, seconds_waited, the_group
from caffelite.cli.progress import LiveLine, RecordedLog, Recorder, compiling
from caffelite.cli.recording import add_recording, check_recording, recording
from caffelite.cli.report import accuracies, duration, not_a_number, summary, untrained
from caffelite.cli.signals import EFFECTS, signal_effects
from caffelite.cli.streams import is_quiet
from caffelite.cli.terminal import on_terminal, say
from caffelite.errors import SolverError
from caffelite.layers.contract.group import PIECES, TURNS, Group
from caffelite.parallel.agreement import check_same, facts_of_files, facts_of_run
from caffelite.schema.documents import SolverDocument
from caffelite.solvers.divergence import REACTIONS
from caffelite.solvers.settings import Settings, load_solver
from caffelite.solvers.snapshot_files import newest_whole
from caffelite.solvers.solver import Solver
from caffelite.solvers.sources import PrototxtFiles
from caffelite.solvers.testing import epoch_iterations

EXAMPLES = """examples:
  caffelite train models/cifar10_bn.prototxt
  caffelite train models/lenet_solver.prototxt --iterations 1000 --seed 3
  caffelite train models/lenet.prototxt --weights snapshots/lenet_iter_5000.caffemodel
  caffelite train models/lenet.prototxt --snapshot snapshots/lenet_iter_5000.solverstate --iterations 10000
  caffelite train models/lenet.prototxt --resume auto --keep 3
  caffelite train models/cifar10_bn.prototxt --report run.html
  caffelite train models/fine.prototxt --weights snapshots/lenet_iter_5000.caffemodel --map ip2:ip2_new --skip-mismatch
  caffelite train -solver models/lenet_solver.prototxt -sigint_effect snapshot
  caffelite train models/cifar10_bn.prototxt --processes 4
  mpiexec -n 4 caffelite train models/cifar10_bn.prototxt
  mpiexec -n 4 caffelite train models/cifar10_bn.prototxt --batch per-process --scale-rate

Several processes divide each batch: it is the same run, to rounding, only faster. With "--batch per-process" each
has a batch of its own, as in Caffe with several GPUs: fewer, larger steps, which want a larger rate; "--scale-rate"
multiplies it by the number of processes after a warm-up of five epochs.

On a terminal a live line is shown, else lines in the format of Caffe's log. Ctrl-C ends the run with a
snapshot, a second Ctrl-C ends it at once; a hangup (SIGHUP) makes a snapshot and goes on. SIGTERM ends the run
with a snapshot and exit code 143.
"""

#: In place of a state: the newest whole one there is.
_AUTO = "auto"
#: Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2.
_WARM_UP_EPOCHS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell the parser what the command takes."""
    add = parser.add_argument
    add("file", nargs="?", metavar="SOLVER_OR_NET", help="prototxt of a solver or of a net")
    add("--solver", metavar="SOLVER", help="the same, as Caffe has it")
    add("--iterations", type=whole, metavar="N", help="iteration to end at, instead of max_iter")
    add("--weights", type=names, metavar="A,B", help="weights to start from, later files over earlier ones")
    add_transfer(parser)
    add(
        "--snapshot",
        "--resume",
        metavar="STATE",
        help=f'.solverstate of a run to go on with; "{_AUTO}" is the newest whole one, or the beginning',
    )
    add("--allow-changed", action="store_true", help="go on although net, weights or solver type are others")
    add("--keep", type=whole, metavar="N", help="remove older snapshots than the last N, instead of snapshot_keep")
    add("--seed", type=int, metavar="N", help="instead of random_seed")
    add_data(parser)
    add_state(parser)
    add_threads(parser)
    add_gpu(parser)
    add_python(parser)
    add(
        "--non-finite",
        choices=REACTIONS,
        default="stop",
        help="where a loss, a gradient or a parameter is NaN or infinite: stop with a snapshot of the last finite "
        "state, warn once, or ignore it (stop)",
    )
    add_output_root(parser)
    add_recording(parser)
    add_processes(parser)
    add(
        "--batch",
        choices=("divided", "per-process"),
        default="divided",
        help="whether processes divide the batch of the net among them, or each has one of its own (divided)",
    )
    add(
        "--scale-rate",
        action="store_true",
        help="with --batch per-process: multiply the learning rate by the number of processes, after a warm-up",
    )
    add("--sigint-effect", choices=EFFECTS, default="stop", help="what Ctrl-C does (stop)")
    add("--sighup-effect", choices=EFFECTS, default="snapshot", help="what a hangup does (snapshot)")


def run(arguments: argparse.Namespace) -> int:
    """Train, and tell in one line what came out."""
    if arguments.snapshot not in (None, _AUTO) and (arguments.weights or arguments.map or arguments.skip_mismatch):
        raise UsageError("give --snapshot to go on with a run, or --weights to begin one with these weights, not both")
    if arguments.allow_changed and not arguments.snapshot:
        raise UsageError("--allow-changed is for going on with a run: give --snapshot too")
    if arguments.scale_rate and arguments.batch != "per-process":
        raise UsageError("--scale-rate is for batches that are larger: give --batch per-process too")
    check_recording(arguments)
    file = the_file([arguments.file, arguments.solver], "the prototxt of a solver or of a net")
    code = exit_code_of_processes(arguments)
    return _run(file, arguments, the_group(arguments)) if code is None else code


def _run(file: Path, arguments: argparse.Namespace, group: Group) -> int:
    files = PrototxtFiles()
    document = load_solver(solver_for(file, files))
    _override(document, arguments)
    settings = Settings(document, files)
    options = transfer_options(arguments, settings.param.weights)
    state = _newest(settings.param.snapshot_prefix) if arguments.snapshot == _AUTO else arguments.snapshot
    nets = [settings.train_net(), *settings.test_nets()]
    if group.size > 1:
        check_same(group, facts_of_files(document, nets, _options(arguments)))
    prepared = in_turn(group, lambda: prepare_data(nets, arguments.data, say))
    shown = Recorder() if is_quiet() else LiveLine(document.message.max_iter) if on_terminal() else RecordedLog()
    try:
        with compiling(shown.doing):
            line, terminated = _train(settings, state, options, arguments, shown, group)
    finally:
        shown.close()
    if not is_quiet():
        print("\n".join([line, *notices_of(prepared)]))
    # One process may know what the others do not: a signal came to it, or it is the first, which knows the losses.
    return largest(group, ENDINGS[signal.SIGTERM][1] if terminated else int(bool(not_a_number(shown.losses()))))


def _options(arguments: argparse.Namespace) -> str:
    """Return the options that all processes must have alike and that do not stand in the solver."""
    names = ("batch", "bn_statistics", "reduce_in", "scale_rate", "non_finite", "allow_python")
    return ", ".join(f"{name} {getattr(arguments, name)}" for name in names)


def _override(document: SolverDocument, arguments: argparse.Namespace) -> None:
    p = document.message
    if arguments.iterations:
        p.max_iter = arguments.iterations
    if p.max_iter < 1:
        raise UsageError(f"{document.filename} has no max_iter above 0; say how many with --iterations")
    if arguments.seed is not None:
        p.random_seed = arguments.seed
    if arguments.level:
        p.train_state.level = arguments.level
    p.train_state.stage.extend(arguments.stage)
    weights = arguments.weights or [path for text in p.weights for path in names(text)]
    p.ClearField("weights")
    p.weights.extend(weights)
    if arguments.keep:
        p.snapshot_keep = arguments.keep


def _newest(prefix: str) -> str | None:
    """Return the newest whole state of a prefix, and tell which it is."""
    path = newest_whole(prefix, say)
    if path is None:
        say(f"there is no whole snapshot {prefix}_iter_N to go on from: training begins anew")
        return None
    say(f"going on from {path}")
    return str(path)


def _train(
    settings: Settings,
    state: str | None,
    options: dict[str, Any],
    arguments: argparse.Namespace,
    shown: Recorder,
    group: Group,
) -> tuple[str, bool]:
    """Run the solver; return the line that tells what came out, and whether SIGTERM ended the run.

    Parameters
    ----------
    settings : Settings
    state : str or None
        The solver state to go on from.
    options : dict of str to object
        How weights are taken, see :func:`.arguments.transfer_options`.
    arguments : Namespace
    shown : Recorder
    group : Group
    """
    # Kernels that one process has compiled the others find.
    solver = in_turn(
        group,
        lambda: Solver(
            settings,
            shown,
            weights=[],
            allow_python=arguments.allow_python,
            output_root=arguments.output_root,
            gpu=arguments.gpu,
            non_finite=arguments.non_finite,
            group=group,
            dealing=TURNS if arguments.batch == "per-process" else PIECES,
            bn_statistics=arguments.bn_statistics,
        ),
    )
    try:
        shown.watch(solver)
        if state is None:
            begun_with = _take_weights(solver, options, shown)
        else:
            begun_with = _resume(solver, state, arguments.allow_changed, shown)
        if group.size > 1:
            check_same(group, facts_of_run(solver))
        if arguments.batch == "per-process" and group.size > 1:
            shown.on_say(_rate_for_larger_batch(solver, arguments.scale_rate))
        first, begun, waited = solver.iteration, perf_counter(), seconds_waited(group)
        with (
            recording(arguments, solver, state is not None, shown.on_say) if group.rank == 0 else nullcontext(),
            signal_effects(solver, arguments.sigint_effect, arguments.sighup_effect, shown.on_say) as asked,
        ):
            solver.solve()
            seconds, waited = perf_counter() - begun, seconds_waited(group) - waited
            # The last line tells what the net can do, also where max_iter is no multiple of test_interval.
            if not solver.stopped and solver.test_nets and solver.tested_at != solver.iteration:
                solver.test_all()
            # What was learned is kept, also where snapshot_after_train is false.
            if solver.stopped and solver.snapshot_at != solver.iteration:
                solver.snapshot()
        together = f" in all on {group.size} processes, {waited / seconds:.0%} of the time waiting" if waited else ""
        return _line(solver, first, seconds, together, begun_with, shown), asked.terminated
    finally:
        solver.close()


def _rate_for_larger_batch(solver: Solver, scale: bool) -> str:
    """Scale the rate, if it is to be; say what larger batches mean for it."""
    size, records = solver.group.size, solver.records_per_iteration
    batch = f"{size} processes with a batch each make batches of {records}"
    if not scale:
        return (
            f"{batch}: an epoch has {size} times fewer iterations; max_iter and the steps of the learning rate are in "
            "iterations, and the rate stays as it is: --scale-rate multiplies it"
        )
    epoch = epoch_iterations(solver.net)
    if epoch is None:
        raise SolverError(
            f"--scale-rate warms up over {_WARM_UP_EPOCHS} epochs, but no layer of {solver.net.name} knows how many "
            "records it has"
        )
    iterations = -(-_WARM_UP_EPOCHS * epoch // solver.param.iter_size)
    solver.settings.scale_rate(size, iterations)
    return (
        f"{batch}: the learning rate grows to {size} times itself over the first {iterations} iterations, "
        f"{_WARM_UP_EPOCHS} epochs"
    )


def _take_weights(solver: Solver, options: dict[str, Any], shown: Recorder) -> str:
    """Start from the weights that the solver names; return which layers they left untrained, in words."""
    left = dict.fromkeys(solver.net.params)
    for path in solver.param.weights:
        transfer = solver.copy_from(path, **options)
        shown.on_say(f"{path}: weights of {len(transfer.taken)} layers are taken")
        _show_table(transfer.table(), shown)
        for name in transfer.taken:
            left.pop(name, None)
    return untrained(list(left)) if left and solver.param.weights else ""


def _resume(solver: Solver, state: str, allow_changed: bool, shown: Recorder) -> str:
    """Go on from a state; return what began anew where that was allowed, in words."""
    resumed = solver.restore(state, allow_changed=allow_changed)
    if not resumed.differences and not resumed.untrained and not resumed.history_lost:
        return ""
    shown.on_say(f"{state}: going on although something is not as it was")
    _show_table(resumed.differences, shown)
    lost = f", the history of {solver.param.type} began anew" if resumed.history_lost else ""
    return untrained(resumed.untrained) + lost


def _show_table(table: str, shown: Recorder) -> None:
    for line in table.splitlines():
        shown.on_say(f"  {line}")


def _line(solver: Solver, first: int, seconds: float, together: str, begun_with: str, shown: Recorder) -> str:
    done = solver.iteration - first
    at = f"iteration {solver.iteration}"
    parts = [f"{solver.net.name}: " + (f"stopped at {at} of {solver.param.max_iter}" if solver.stopped else at)]
    if done:
        rate = solver.records_per_iteration * done / seconds
        parts.append(f"{done} in {duration(seconds)}" + (f", {rate:,.0f} images/s{together}" if rate else ""))
    else:
        parts.append("nothing was left to do, --iterations sets where a run ends")
    shares = accuracies(solver.test_nets)
    for i, (iteration, outputs) in sorted(shown.tests.items()):
        which = f" net {i}" if len(solver.test_nets) > 1 else ""
        when = "" if iteration == solver.iteration else f" at iteration {iteration}"
        parts.append(f"test{which}{when}: {summary(outputs, shares)}")
    if begun_with:
        parts.append(begun_with)
    if bad := not_a_number(shown.losses()):
        parts.append(bad)
    if shown.model:
        parts.append(f"weights in {shown.model}, to go on with: --snapshot {shown.state}")
    return "; ".join(parts)
