"""Which records of each batch are this process's own, where several share the work."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Share:
    """What a process reads of a source, batch after batch; all of it, where it is alone.

    A *position* is the number in the run of the record that a batch of all processes begins with. What is drawn for a
    record is a function of its number, so it does not depend on which process has it.

    Attributes
    ----------
    count : int
        Own records of a batch.
    first : int
        How many of the batch come before them.
    stride : int
        From the position of a batch to that of the next one.
    """

    count: int
    first: int
    stride: int

    def numbers(self, position: int, batches: int = 1) -> np.ndarray:
        """Return the numbers in the run of the own records of the batches from ``position`` on, int64."""
        begins = position + self.first + self.stride * np.arange(batches)
        return (begins[:, None] + np.arange(self.count)).reshape(-1)


def whole(batch_size: int) -> Share:
    """Return the share of a process that is alone."""
    return Share(batch_size, 0, batch_size)
