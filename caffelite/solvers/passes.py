"""The passes of an iteration: forward, the loss that all processes agree on, backward, the sums of the gradients."""

from collections.abc import Callable, Sequence

from caffelite.layers.contract.group import Group
from caffelite.net import Net
from caffelite.solvers import debug_info
from caffelite.solvers.agreement import Agreement
from caffelite.solvers.divergence import Watch
from caffelite.solvers.logs import DebugLine
from caffelite.solvers.reduction import Reduction


class Passes:
    """Runs a net forward and backward, by itself or with others.

    Parameters
    ----------
    net : Net
    group : Group
    watch : Watch
    agreement : Agreement

    Attributes
    ----------
    reduction : Reduction
        What adds up the gradients, where there are others.
    """

    def __init__(self, net: Net, group: Group, watch: Watch, agreement: Agreement) -> None:
        self.reduction = Reduction(net, group)
        self._net, self._watch, self._agreement = net, watch, agreement
        self._alone = group.size == 1

    def forward(self) -> float:
        """Run the net forward; return the loss of all processes.

        Raises
        ------
        DivergenceError
            It is not finite.
        """
        self._agreement.start(self._watch.forward())
        loss = self._agreement.wait()
        self._watch.check(loss)
        return loss

    def run(self, last: bool, debug: Callable[[Sequence[DebugLine]], None] | None) -> float:
        """Run the net forward and backward; return the loss of all processes.

        Parameters
        ----------
        last : bool
            Whether it is the last pass of the iteration, in which the gradients are added up over the processes.
        debug : callable or None
            Takes the lines of ``debug_info``, where it is asked for: they are about this process's records.

        Raises
        ------
        DivergenceError
            The loss is not finite. A process that is alone does not run backward then; others know it after that, as
            their sum is on its way meanwhile.
        """
        loss = self._watch.forward()
        if self._alone:
            self._watch.check(loss)
        else:
            self._agreement.start(loss)
        together = last and not self._alone
        if debug is not None:
            debug(debug_info.forward(self._net) + debug_info.backward(self._net))
            if together:
                self.reduction.add_up()
        elif together:
            self.reduction.backward()
        else:
            self._net.backward()
        if not self._alone:
            loss = self._agreement.wait()
            self._watch.check(loss)
        return loss
