"""What it costs that processes work together: bytes and waiting, layer by layer."""

from dataclasses import dataclass
from time import perf_counter

from caffelite.net import Net
from caffelite.parallel.world import MpiGroup
from caffelite.solvers.reduction import Reduction


@dataclass
class Together:
    """What a layer takes for what it has in common with other processes, a pass.

    Attributes
    ----------
    bytes : int
        Of the arrays that are summed: inside the layer, and those of gradients that are complete with it.
    waited : float
        Seconds that this process has waited for these sums.
    """

    bytes: int = 0
    waited: float = 0.0


def time_together(net: Net, group: MpiGroup, iterations: int, backward: bool) -> tuple[list[Together], float]:
    """Measure passes in which sums go on while layers compute, as in training.

    Parameters
    ----------
    net : Net
        Built with the group, and run before.
    group : MpiGroup
        All of its processes come here.
    iterations : int
    backward : bool
        Whether to run backward too.

    Returns
    -------
    list of Together
        One for each unit of the plan.
    float
        Seconds a pass, with the waiting.
    """
    layers = [Together() for _ in net.plan.units]
    reduction = Reduction(net, group)
    group.meet()
    before = (group.bytes_summed, group.waited)

    def note(position: int) -> None:
        nonlocal before
        now = (group.bytes_summed, group.waited)
        layers[position].bytes += now[0] - before[0]
        layers[position].waited += now[1] - before[1]
        before = now

    begun = perf_counter()
    for _ in range(iterations):
        for position in range(len(layers)):
            net.forward_unit(position)
            note(position)
        if backward:
            reduction.backward(note)
            # What is left of the waiting is for the sums, in the order in which they began.
            before = (group.bytes_summed, group.waited)
    seconds = (perf_counter() - begun) / iterations
    for bucket in reduction.buckets:
        layers[bucket.unit].waited += bucket.waited
    return [Together(layer.bytes // iterations, layer.waited / iterations) for layer in layers], seconds
