"""What a solver tells those who watch it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from caffelite.solvers.rules import Clipping
from caffelite.solvers.testing import Output, Scores

if TYPE_CHECKING:
    from caffelite.solvers.solver import Solver


@dataclass(slots=True)
class Display:
    """What is known every ``display`` iterations.

    Attributes
    ----------
    iteration : int
        Number of updates done before this one.
    loss : float
        Mean of the last ``average_loss`` iterations.
    outputs : list of Output
        Of the train net, for the last batch.
    rate : float
        The learning rate of this iteration.
    interval : int
        The solver's ``display``.
    iterations : int
        Iterations since the last display.
    seconds : float
        Time since the last display.
    images : int
        Records since the last display.
    """

    iteration: int
    loss: float
    outputs: list[Output]
    rate: float
    interval: int
    iterations: int
    seconds: float
    images: int


class Listener:
    """Base of those who watch a solver: every method does nothing.

    The solver calls them in the thread that trains.
    """

    def on_log(self, source: str, text: str) -> None:
        """A line of Caffe's log that tells where the program is; ``source`` is the ``file:line`` it has there."""

    def on_note(self, text: str) -> None:
        """A sentence the user should read: something is done otherwise than the file says."""

    def on_start(self, solver: "Solver") -> None:
        """``solve`` begins."""

    def on_iteration(self, solver: "Solver") -> None:
        """An iteration begins: gradients are zero."""

    def on_gradients(self, solver: "Solver") -> None:
        """Gradients are there, the update has not been made."""

    def on_policy_step(self, iteration: int, step: int) -> None:
        """The multistep policy has come to its next step."""

    def on_display(self, display: Display) -> None:
        """Every ``display`` iterations, before the update."""

    def on_clip(self, clipping: Clipping) -> None:
        """Gradients were scaled down to ``clip_gradients``."""

    def on_step(self, iteration: int, loss: float) -> None:
        """An iteration is done; ``iteration`` counts the updates made, ``loss`` is the one before the last."""

    def on_test_start(self, iteration: int, index: int) -> None:
        """Test net ``index`` is about to be run."""

    def on_test_batch(self, index: int, done: int, batches: int) -> None:
        """Test net ``index`` has done a batch."""

    def on_test(self, iteration: int, index: int, scores: Scores | None) -> None:
        """Test net ``index`` is done; None where a request to stop ended it."""

    def on_snapshot(self, model: Path, state: Path) -> None:
        """A snapshot has been written."""

    def on_last_loss(self, iteration: int, loss: float) -> None:
        """The loss after the last update."""

    def on_finish(self, solver: "Solver", stopped: bool) -> None:
        """``solve`` is done, or was stopped by request."""
