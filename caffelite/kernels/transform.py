"""From stored images to a batch: crop, mirror, subtract the mean, scale."""

import numpy as np

from caffelite.kernels.launch import kernel


@kernel
def transform(begin, end, worker, source, mean, scale, tops, lefts, flips, output):  # type: ignore[no-untyped-def]
    """Compute (source - mean) · scale for a window of each image.

    Parameters
    ----------
    source : (N, C, H, W) uint8 or float32
    mean : (C, H, W) float32
        Subtracted where the pixel comes from, whatever the window; zeros for none.
    scale : float
        Used as float32, as Caffe does.
    tops, lefts : (N,) int64
        The first row and column of each image's window; it must lie in the image.
    flips : (N,) bool
        True: the window is mirrored left to right.
    output : (N, C, h, w) float32
    """
    channels = mean.shape[0]
    rows, columns = output.shape[2:]
    factor = np.float32(scale)
    for i in range(begin, end):
        top, left, flip = tops[i], lefts[i], flips[i]
        for c in range(channels):
            for r in range(rows):
                # Slices, so that the loops count from zero: only then are they made of vector instructions.
                pixels = source[i, c, top + r, left : left + columns]
                means = mean[c, top + r, left : left + columns]
                line = output[i, c, r]
                if flip:
                    for k in range(columns):
                        line[k] = (np.float32(pixels[columns - 1 - k]) - means[columns - 1 - k]) * factor
                else:
                    for k in range(columns):
                        line[k] = (np.float32(pixels[k]) - means[k]) * factor
