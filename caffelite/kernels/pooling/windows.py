"""Where the windows of a pooling lie."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Windows:
    """Where the windows lie; pairs are (vertical, horizontal)."""

    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    output_size: tuple[int, int]
    counts_padding: bool = True

    def divisors(self, axis: int) -> np.ndarray:
        """Return how many elements each window counts along an axis: in the map, and in its padding if that counts."""
        starts = np.arange(self.output_size[axis]) * self.stride[axis] - self.pad[axis]
        ends = np.minimum(starts + self.kernel[axis], self.size[axis] + self.pad[axis])
        if not self.counts_padding:
            starts, ends = np.maximum(starts, 0), np.minimum(ends, self.size[axis])
        return (ends - starts).astype(np.float32)
