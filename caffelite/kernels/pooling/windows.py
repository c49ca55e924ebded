"""Where the windows of a pooling lie."""

from typing import NamedTuple

import numpy as np


class Windows(NamedTuple):
    """A map and the windows over it, in elements: what all kernels of pooling take. The layer computes it.

    Attributes
    ----------
    height, width : int
        Of a map.
    kernel_h, kernel_w : int
        Of a window.
    stride_h, stride_w : int
        From a window to the next one.
    pad_h, pad_w : int
        How far beyond the map the first window begins, and the last one may end.
    out_h, out_w : int
        Windows along each axis.
    counts_padding : bool
        Whether a mean counts the elements of the padding (as zeros), or those of the map alone.
    """

    height: int
    width: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    out_h: int
    out_w: int
    counts_padding: bool = True

    @property
    def area(self) -> int:
        """Elements of a window."""
        return self.kernel_h * self.kernel_w

    def divisors(self, axis: int) -> np.ndarray:
        """Return how many elements each window counts along an axis (0: vertical), as float32."""
        # The first ten fields are pairs: vertical, horizontal.
        size, kernel, stride, pad, out = self[axis:10:2]
        starts = np.arange(out) * stride - pad
        ends = np.minimum(starts + kernel, size + pad)
        if not self.counts_padding:
            starts, ends = np.maximum(starts, 0), np.minimum(ends, size)
        return (ends - starts).astype(np.float32)


def maps_in(g: Windows, x: np.ndarray) -> int:
    """Return how many maps an array of maps has."""
    return x.size // (g.height * g.width)
