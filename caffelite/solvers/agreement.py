"""What all processes of a run must know alike: whether it stops, whether a snapshot is asked for, the loss, a text."""

import numpy as np

from caffelite.layers.contract.group import ALONE, Group, Sum


class Agreement:
    """Requests and the loss, the same on all processes: one small sum a pass, which goes on while backward does.

    Whoever asks for something, on whichever process, all of them do it after the same iteration. A process that is
    alone does it at once.

    Parameters
    ----------
    group : Group

    Attributes
    ----------
    stop_asked, snapshot_asked : bool
        What this process was asked for; a signal handler may set them.
    """

    def __init__(self, group: Group) -> None:
        self._group = group
        self.stop_asked = self.snapshot_asked = False
        self._stop = self._snapshot = False
        self._values = np.zeros(3)
        self._sum: Sum = ALONE.start_sum(self._values)

    @property
    def stop(self) -> bool:
        """Whether the run stops."""
        return self.stop_asked if self._group.size == 1 else self._stop

    @property
    def snapshot(self) -> bool:
        """Whether a snapshot is to be written."""
        return self.snapshot_asked if self._group.size == 1 else self._snapshot

    def forget_stop(self) -> None:
        """A run begins: requests that an earlier one stops are done with."""
        self.stop_asked = self._stop = False

    def forget_snapshot(self) -> None:
        """A snapshot is written: that was what all asked for."""
        self._snapshot = False
        if self._group.size == 1:
            self.snapshot_asked = False

    def start(self, loss: float = 0.0) -> None:
        """Begin to add up this process's part of the loss and its requests."""
        self._values[:] = loss, self.stop_asked, self.snapshot_asked
        if self._group.size > 1 and self._values[2]:
            # Asked for again while the sum is on its way, it is for the next one.
            self.snapshot_asked = False
        self._sum = self._group.start_sum(self._values)

    def wait(self) -> float:
        """Return the loss of all processes; take note of their requests."""
        self._sum.wait()
        loss, stop, snapshot = self._values.tolist()
        self._stop |= stop > 0
        self._snapshot |= snapshot > 0
        return float(loss)

    def ask(self) -> bool:
        """Take note of the requests of all processes, which all ask now; return whether the run stops."""
        if self._group.size > 1:
            self.start()
            self.wait()
        return self.stop


def first_text(group: Group, text: str) -> str:
    """Return on all processes the text of the first one whose text is not empty; all of them call it."""
    if group.size == 1:
        return text
    own = np.frombuffer(text.encode(), np.uint8)
    sizes = np.zeros(group.size)
    sizes[group.rank] = len(own)
    group.sum(sizes)
    if not sizes.any():
        return ""
    first = int(np.flatnonzero(sizes)[0])
    letters = np.zeros(int(sizes[first]), np.float32)
    if group.rank == first:
        letters[:] = own
    group.sum(letters)
    return letters.astype(np.uint8).tobytes().decode()
