"""``caffelite train``."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from caffelite.cli.common import add_file, compiling, file_of, folder_for, prepare_data, say, say_notices
from caffelite.errors import Error

HELP = "Train a net."
EXAMPLES = """examples:
  caffelite train models/cifar10_bn.prototxt                  a net, with the solver beside it
  caffelite train models/lenet_solver.prototxt --iterations 1000
  caffelite train my_solver.prototxt --weights base.caffemodel   start from weights (fine-tune)
  caffelite train my_solver.prototxt --snapshot snapshots/my_iter_500.solverstate   go on
  caffelite train -solver my_solver.prototxt                  Caffe's own spelling

Ctrl-C ends the run with a snapshot, from which it can be taken up. On a terminal there is a progress line; otherwise
lines in the format of Caffe's log are written to standard error."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_file(parser, ("--solver",), "a solver, or a net: then NET_solver.prototxt beside it, or defaults")
    parser.add_argument("--iterations", type=int, help="train up to this iteration (max_iter)")
    parser.add_argument("--weights", help="start from these weights; several with commas between")
    parser.add_argument("--snapshot", help="go on from this .solverstate")
    parser.add_argument("--seed", type=int, help="for everything random (random_seed)")
    parser.add_argument("--data", metavar="DIR", help="folder with the original files of CIFAR-10 or MNIST")
    parser.add_argument("--sigint_effect", choices=("stop", "snapshot", "none"), default="stop", help=argparse.SUPPRESS)
    parser.add_argument("--sighup_effect", choices=("stop", "snapshot", "none"), default="snapshot",
                        help=argparse.SUPPRESS)  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Train."""
    from caffelite.schema.text import is_net, read_solver
    from caffelite.solvers.settings import Settings, default_solver
    from caffelite.solvers.solver import Solver

    path = file_of(options)
    if options.weights and options.snapshot:
        raise Error("give either --weights (start) or --snapshot (go on), not both")
    if is_net(path):
        beside = path.with_name(f"{path.stem}_solver.prototxt")
        if beside.exists():
            document = read_solver(beside)
            document.message.net = str(path)
            say(f"{path} is a net; training it with {beside}")
        else:
            document = default_solver(path)
            say(f"{path} is a net without {beside.name} beside it; training it with the defaults: SGD, momentum 0.9, "
                "learning rate 0.01, 10,000 iterations")  # fmt: skip
    else:
        document = read_solver(path)
    if options.iterations is not None:
        document.message.max_iter = options.iterations
    settings = Settings(document)
    used = prepare_data(settings.train_net()[0].message, options.data)
    folder_for(document.message.snapshot_prefix or str(path))
    listener = _Progress() if sys.stderr.isatty() else _log()
    with compiling():
        solver = Solver(document, listener, seed=options.seed)
        if options.snapshot:
            solver.restore(options.snapshot)
        for weights in options.weights.split(",") if options.weights else []:
            say(f"{weights}: {len(solver.copy_from(weights))} layers taken")
    if isinstance(listener, _Progress):
        listener.begin(solver)
    try:
        with _signals(solver, options):
            solver.solve()
            if solver.stopped and not solver.param.snapshot_after_train:
                solver.snapshot()
    finally:
        solver.close()
        if isinstance(listener, _Progress):
            listener.finish()
    tested = f"; test: {', '.join(listener.tested)}" if listener.tested else ""
    say(f"{'stopped after' if solver.stopped else 'trained'} {solver.iteration} iterations; weights: "
        f"{listener.written or 'not written'}{tested}")  # fmt: skip
    say_notices(used)


def _log() -> Any:
    from caffelite.solvers.logs import LogListener

    class Log(_Remember, LogListener):
        pass

    return Log()


class _Remember:
    """Keeps the last results for the line at the end."""

    tested: Sequence[str] = ()
    written = ""

    def on_test(self, iteration: int, net: int, outputs: Sequence[Any], loss: float | None) -> None:
        super().on_test(iteration, net, outputs, loss)  # type: ignore[misc]
        self.tested = [f"{output.name} {output.value:.4g}" for output in outputs]

    def on_snapshot(self, path: str, kind: str) -> None:
        super().on_snapshot(path, kind)  # type: ignore[misc]
        if ".caffemodel" in path:
            self.written = path


class _Lines:
    """A progress line on a terminal, and a line for each test above it."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._batch = 0
        self._accuracy = ""

    def begin(self, solver: Any) -> None:
        """Show the line."""
        from tqdm import tqdm

        top = solver.net.graph.nodes[0].tops[0].shape if solver.net.graph.nodes[0].tops else ()
        self._batch = (top[0] if top else 1) * solver.param.iter_size
        self._bar = tqdm(total=solver.param.max_iter, initial=solver.iteration, unit="it", dynamic_ncols=True)

    def finish(self) -> None:
        """Take the line away."""
        if self._bar is not None:
            self._bar.close()

    def _write(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr) if self._bar is not None else print(text, file=sys.stderr)

    def on_start(self, name: str, policy: str) -> None:
        self._write(f"training {name}, learning rate policy {policy}")

    def on_display(self, iteration: int, loss: float, outputs: Sequence[Any], rate: float, seconds: float) -> None:
        """Nothing: the line says it all."""

    def on_step(self, iteration: int, loss: float) -> None:
        bar = self._bar
        if bar is None:
            return
        # Cheap: tqdm draws at most ten times a second.
        if bar.update():
            speed = (bar.format_dict["rate"] or 0) * self._batch
            bar.set_postfix_str(f"loss {loss:.4g}{self._accuracy}, {speed:.0f} images/s", refresh=False)

    def on_test_start(self, iteration: int, net: int) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"testing net #{net}", refresh=True)

    def on_test(self, iteration: int, net: int, outputs: Sequence[Any], loss: float | None) -> None:
        values = ", ".join(f"{output.name} {output.value:.4g}" for output in outputs)
        self._write(f"iteration {iteration}, test net #{net}: {values}")
        accuracy = next((output.value for output in outputs if "accuracy" in output.name.lower()), None)
        self._accuracy = "" if accuracy is None else f", accuracy {accuracy:.4g}"

    def on_snapshot(self, path: str, kind: str) -> None:
        self._write(f"writing {path}")

    def on_say(self, text: str) -> None:
        self._write(text)

    def on_final(self, iteration: int, loss: float) -> None:
        """Nothing: the line at the end says it."""

    def on_end(self, stopped: bool) -> None:
        """Nothing: the line at the end says it."""


class _Progress(_Remember, _Lines):
    """A progress line that also remembers the last results."""


@contextmanager
def _signals(solver: Any, options: argparse.Namespace) -> Iterator[None]:
    """Let Ctrl-C and a hang-up ask the solver for what Caffe does on them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    effects = {signal.SIGINT: options.sigint_effect}
    if hasattr(signal, "SIGHUP"):
        effects[signal.SIGHUP] = options.sighup_effect
    before = {}

    def act(number: int, frame: Any) -> None:
        if effects[signal.Signals(number)] == "stop":
            if solver.stopped:
                raise KeyboardInterrupt
            say("stopping after this iteration, with a snapshot; Ctrl-C again stops at once")
            solver.request_stop()
        elif effects[signal.Signals(number)] == "snapshot":
            solver.request_snapshot()

    for number in effects:
        before[number] = signal.signal(number, act)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
