"""What a snapshot of the last whole iteration takes, while the next one or a test goes on."""

import threading
from time import perf_counter

import numpy as np

from caffelite.net import Net
from caffelite.solvers.snapshots import State

#: Whoever wants a process to end waits for an iteration that is shorter.
_SLOW_SECONDS = 0.5

#: A state, and the parameters that belong to it, by layer name.
Whole = tuple[State, dict[str, list[np.ndarray]]]


class Standby:
    """What passes change (all but what the update changes) is put aside before a pass that may take long.

    Attributes
    ----------
    changes : RLock
        Held while something changes that a pass does not change, and while a snapshot is written.
    slow : bool
        Whether iterations take so long that putting aside costs nothing beside them; true before the first.
    """

    def __init__(self) -> None:
        self.changes = threading.RLock()
        self.slow = True
        self._whole: Whole | None = None
        self._begun = perf_counter()

    def begin(self) -> None:
        """An iteration begins."""
        self._begun = perf_counter()

    def put_aside(self, state: State, net: Net) -> None:
        """A slow iteration or a test begins; ``state`` is that of the solver."""
        state.extra = {key: array.copy() for key, array in state.extra.items()}
        unlearned = {id(own.blob) for own in net.learnable if not own.lr_mult}
        weights = {
            name: [blob.data.copy() if id(blob) in unlearned else blob.data for blob in blobs]
            for name, blobs in net.params.items()
        }
        self._whole = state, weights

    def end(self) -> None:
        """The iteration is done."""
        self._whole = None
        self.slow = perf_counter() - self._begun > _SLOW_SECONDS

    def end_test(self) -> None:
        """The test is done."""
        self._whole = None

    def take(self) -> Whole | None:
        """Return what was put aside, and let nothing change it from now on; None where no slow pass is running."""
        self.changes.acquire()
        whole = self._whole
        if whole is None:
            self.changes.release()
        return whole
