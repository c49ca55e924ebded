"""A run that diverges is stopped, warned of or let go on.

On the way only the loss is looked at, and the gradients, in front of the update; an update that would leave a parameter
other than finite is not made. So there always is a finite state to save.
"""

import math
from collections import deque
from collections.abc import Callable

import numpy as np

from caffelite.errors import DivergenceError, SolverError
from caffelite.net import Net
from caffelite.solvers.agreement import first_text
from caffelite.solvers.non_finite import RATE_TOO_HIGH, Held, bad, described, explain
from caffelite.solvers.rules import NotFiniteError, UpdateRule
from caffelite.solvers.testing import TestBatch
from caffelite.words import quoted

#: What may be done where a value is not finite.
REACTIONS = ("stop", "warn", "ignore")

#: -log of the smallest normal float: what a record costs whose class has a probability of 0.
_NO_PROBABILITY = -math.log(np.finfo(np.float32).tiny)


class Watch:
    """Sees to it that a run stops, with what it has learned, where a value is not finite.

    Parameters
    ----------
    net : Net
    rule : UpdateRule
    reaction : {"stop", "warn", "ignore"}
        Stop; say it once and go on; go on.
    passes : int
        How many an iteration has.
    say : callable
        Takes a warning.
    save : callable
        Writes a snapshot and returns its path.

    Attributes
    ----------
    watching : bool
        Whether anything is done where a value is not finite; no more after the warning.

    Raises
    ------
    SolverError
        There is no such reaction.
    """

    def __init__(
        self,
        net: Net,
        rule: UpdateRule,
        reaction: str,
        passes: int,
        say: Callable[[str], None],
        save: Callable[[], str],
    ) -> None:
        if reaction not in REACTIONS:
            raise SolverError(f"non_finite is {quoted(reaction)}, expected one of {', '.join(REACTIONS)}")
        self.net, self.rule = net, rule
        self.watching = reaction != "ignore"
        self._stops = reaction == "stop"
        self._say, self._save = say, save
        self._start = Held(net)
        self._before = self._start if passes == 1 else Held(net)
        self._iteration = 0
        self._window: deque[float] = deque()
        self._losses: list[float] = []
        #: Whether an iteration has begun and not been ended by its update; an update may be asked for alone.
        self._begun = False
        self._previous = 0.0
        self._explained = False
        self._tested: set[int] = set()

    def begin(self, iteration: int, losses: deque[float]) -> None:
        """Take note of where an iteration begins; ``losses`` are those that the loss that is shown is the mean of."""
        self._iteration = iteration
        if self.watching:
            self._window, self._losses, self._begun = losses, [*losses], True
            self._start.take()

    def forward(self) -> float:
        """Run the net forward; return this process's part of the loss."""
        if self.watching and self._before is not self._start:
            self._before.take()
        return self.net.forward()

    def check(self, loss: float) -> None:
        """Look at the loss of a pass, of all processes.

        Raises
        ------
        DivergenceError
            It is not finite.
        """
        if self.watching and not math.isfinite(loss):
            self._react(f"the loss is {loss:g};", explain(self.net, self._before))
        if abs(loss - self._previous) <= 1e-5 * loss and not self._explained:
            self._look_at(loss)
        self._previous = loss

    def tested(self, iteration: int, index: int, net: Net, batch: TestBatch) -> None:
        """Warn where the loss of a test net's batch is not finite, once for each net; training goes on."""
        if self.watching and index not in self._tested and not math.isfinite(batch.loss):
            self._tested.add(index)
            where = first_text(self.net.context.group, explain(net) if batch.own else "")
            self._say(f"iteration {iteration}: test net #{index}: the loss is {batch.loss:g}; {where}")

    def update(self, rate: float, iteration: int) -> tuple[float, float] | None:
        """Make the update; parameters and result as :meth:`.rules.UpdateRule.apply` has them.

        Raises
        ------
        DivergenceError
            A gradient is not finite, or what would come of the update; it has not been made.
        """
        try:
            clipped = self.rule.apply(rate, iteration, finite=self.watching)
            self._begun = False
            return clipped
        except NotFiniteError as error:
            if error.what == "gradient":
                before = self._before if self._begun else None
                self._react("a gradient is not finite;", explain(self.net, before, gradients=True))
            elif error.what == "parameter":
                own, _ = self.rule.broken()
                text = f"parameter {own.names[0]} is not finite, though the loss and the gradients are;"
                self._react(text, f"it is {described(own.blob.data)}; its values have run away, or were loaded so")
            else:
                self._react(f"the update, at a learning rate of {rate:g}, would leave", self._broken())
        return self.rule.apply(rate, iteration)

    def _broken(self) -> str:
        own, values = self.rule.broken()
        gradient = "" if own.blob.diff is None else f", its gradient {described(own.blob.diff)}"
        by_nothing = self.rule.divides and not self.rule.solver.delta
        cause = "delta is 0, and where a gradient is 0 too, it is divided by it" if by_nothing else RATE_TOO_HIGH
        return (
            f"{values} of {own.blob.data.size} values of parameter {own.names[0]}, or what the solver keeps for them, "
            f"not finite: it is {described(own.blob.data)}{gradient}; {cause}"
        )

    def _react(self, what: str, where: str) -> None:
        text = f"iteration {self._iteration}: {what} {where}"
        if not self._stops:
            self.watching = False
            self._say(f"{text}; it goes on, and what it learns from here is worth nothing")
            return
        if self._begun:
            self._start.put_back()
            self._window.clear()
            self._window.extend(self._losses)
        raise DivergenceError(f"{text}; {self._saved()}")

    def _saved(self) -> str:
        """Save the state in which the iteration began, and say so."""
        if bad(self.net.data) or any(map(bad, self.rule.history)):
            text = "nothing is saved, as the parameters were not finite before"
        else:
            try:
                text = f"the last finite state is saved, to go on with: --snapshot {self._save()}"
            except SolverError as error:
                text = f"the last finite state is not saved: {error}"
        # The first process writes it, and knows.
        return first_text(self.net.context.group, text)

    def _look_at(self, loss: float) -> None:
        """Say what it means, where a loss stands at -log of the smallest float."""
        if any(abs(float(blob.data.max()) - _NO_PROBABILITY) < 1e-3 for _, blob in self.net.plan.losses):
            self._explained = True
            self._say(
                f"iteration {self._iteration}: the loss stands at {_NO_PROBABILITY:.6g}, -log of the smallest float: "
                "the net gives the class of every record a probability of 0. Usually the scores have run away, as the "
                "learning rate is too high (lower base_lr, or set clip_gradients); else the data is not scaled, or the "
                "labels belong to other records"
            )
