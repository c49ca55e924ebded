"""A listener that measures a run every so many iterations and hands the numbers on, a line at a time."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter, time

import numpy as np

from caffelite import __version__
from caffelite.net import Net
from caffelite.report.behind import rays
from caffelite.report.metrics import Line, number, numbers
from caffelite.solvers.logs import Listener, Listeners, Output
from caffelite.solvers.solver import Solver
from caffelite.solvers.testing import outputs_of

#: Takes each line as it comes.
Sink = Callable[[Line], None]

#: Iterations between two measurements; a run whose iterations are slow is measured after so many seconds.
EVERY, _SECONDS = 50, 10.0
#: An output of more values is no curve.
_FEW = 4


class Measuring(Listener):
    """Measures a run.

    A measurement reads what is there after an iteration: losses, outputs, the gradients before the update and the
    updates, the statistics that BatchNorm layers have of the batch. Nothing is computed for it but norms and
    differences.

    Parameters
    ----------
    solver : Solver
    sink : callable
        Takes the lines.
    every : int, optional
        Iterations between two measurements; where it is left out, :data:`EVERY`, or as many as 10 seconds have.
    """

    def __init__(self, solver: Solver, sink: Sink, every: int | None = None) -> None:
        self._solver, self._sink = solver, sink
        self._every = every or EVERY
        self._seconds = np.inf if every else _SECONDS
        self._rays = rays(solver.net)
        self._losses: list[float] = []
        self._gradients: dict[str, float] | None = None
        #: When the run began, at which iteration; when the last measurement was, at which; how long tests took since.
        self._begun, self._first = perf_counter(), solver.iteration
        self._since, self._at = self._begun, self._first
        self._testing, self._test_begun = 0.0, 0.0
        self._waited = _waited(solver.net)

    def on_start(self, name: str, policy: str) -> None:
        solver, nets = self._solver, [self._solver.net, *self._solver.test_nets]
        shares = {node.tops[0].name for net in nets for node in net.graph.nodes if node.layer.facts.share}
        layers = {
            ray.name: {
                "channels": ray.channels.tolist(),
                "of": int(ray.layer.sums[0].size),
                "images": ray.images,
                "fraction": number(ray.layer.fraction),
            }
            for ray in self._rays
        }
        self._tell(
            "start",
            caffelite=__version__,
            net=name,
            solver=solver.param.type,
            policy=policy,
            max_iter=solver.param.max_iter,
            images_per_iteration=solver.records_per_iteration,
            test_nets=len(solver.test_nets),
            shares=sorted(shares),
            batchnorm=layers,
        )
        self._begun, self._first = perf_counter(), solver.iteration
        self._since, self._at = self._begun, self._first

    def on_gradients(self, iteration: int) -> None:
        now = perf_counter()
        if (iteration + 1) % self._every == 0 or now - self._since > self._seconds or iteration == self._first:
            self._gradients = _norms(self._solver.net, gradients=True)

    def on_step(self, iteration: int, loss: float) -> None:
        self._losses.append(self._solver.loss)
        if self._gradients is not None:
            self._measure(iteration, self._gradients)
            self._gradients = None

    def _measure(self, iteration: int, gradients: dict[str, float]) -> None:
        solver, now, passes = self._solver, perf_counter(), self._solver.param.iter_size
        updates, weights = _norms(solver.net, gradients=True), _norms(solver.net, gradients=False)
        seconds, waited = max(now - self._since - self._testing, 1e-9), _waited(solver.net)
        done, left = iteration - self._at, solver.param.max_iter - iteration
        losses = numbers(self._losses)
        self._tell(
            "train",
            rate=number(solver.rate),
            loss=number(float(np.mean(self._losses))),
            losses=losses,
            outputs=_curves(outputs_of(solver.net)),
            images_per_second=number(solver.records_per_iteration * done / seconds, 4),
            seconds_left=number((now - self._begun) / (iteration - self._first) * left, 4),
            waiting=number(min((waited - self._waited) / seconds, 1.0), 3),
            norms={
                name: {
                    "weights": number(weights[name], 5),
                    "gradients": number(gradients[name] / passes, 5),
                    "updates": number(updates[name], 5),
                }
                for name in weights
            },
            batchnorm=self._behind(),
        )
        self._losses = []
        self._since, self._at, self._testing, self._waited = perf_counter(), iteration, 0.0, waited

    def _behind(self) -> dict[str, dict[str, list[float | None]]]:
        layers = {}
        for ray in self._rays:
            mean, deviation = ray.behind()
            layers[ray.name] = {"mean": _rounded(mean), "deviation": _rounded(deviation)}
        return layers

    def on_test_start(self, iteration: int, net: int) -> None:
        self._test_begun = perf_counter()

    def on_test(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        self._testing += perf_counter() - self._test_begun
        self._tell("test", net=net, outputs=_curves(outputs))

    def on_test_interrupted(self, iteration: int, net: int) -> None:
        self._testing += perf_counter() - self._test_begun

    def on_say(self, text: str) -> None:
        self._tell("note", text=text)

    def end(self, reason: str) -> None:
        """Tell that the run is over; ``reason`` says why where it did not come to its end, else it is empty."""
        self._tell("end", reason=reason)

    def _tell(self, event: str, **facts: object) -> None:
        self._sink({"event": event, "iteration": self._solver.iteration, "time": round(time(), 3), **facts})


@contextmanager
def measured(solver: Solver, sink: Sink, every: int | None = None) -> Iterator[None]:
    """Measure a run as long as the block lasts, beside whoever listens to it already; see :class:`Measuring`."""
    measuring = Measuring(solver, sink, every)
    listener = solver.listener
    solver.listener = Listeners(listener, measuring)
    try:
        yield
        measuring.end("it was stopped" if solver.stopped else "")
    except BaseException as error:
        measuring.end(str(error) or type(error).__name__)
        raise
    finally:
        solver.listener = listener


def _curves(outputs: Sequence[Output]) -> dict[str, list[float | None]]:
    """Return the values of outputs by name, without those of more than a few values."""
    values: dict[str, list[float]] = defaultdict(list)
    for output in outputs:
        values[output.name].append(output.value)
    return {name: numbers(several) for name, several in values.items() if len(several) <= _FEW}


def _rounded(values: np.ndarray) -> list[float | None]:
    """Return values with three decimals: these are thousandths of a standard deviation."""
    return [value if np.isfinite(value) else None for value in np.round(values, 3).tolist()]


def _waited(net: Net) -> float:
    """Return the seconds that a net has waited for data since it was made."""
    return sum(getattr(layer, "waited_seconds", 0.0) for layer in net.layers)


def _norms(net: Net, gradients: bool) -> dict[str, float]:
    """Return for each layer the Euclidean norm of the parameters that it learns, or of their gradients."""
    squares: dict[str, float] = defaultdict(float)
    for own in net.learnable:
        values = own.blob.diff if gradients else own.blob.data
        if own.lr_mult and values is not None:
            squares[own.names[0].rpartition("/")[0]] += _square(values.reshape(-1))
    return {name: float(np.sqrt(square)) for name, square in squares.items()}


def _square(values: np.ndarray) -> float:
    # Not np.dot, whose library has threads of its own that go on spinning beside those of the kernels.
    square = float(np.einsum("i,i->", values, values))
    return square if np.isfinite(square) else float(np.square(values, dtype=np.float64).sum())
