"""Products of matrices on the register tile: what an inner product does, forward and backward."""

from collections.abc import Callable

import numpy as np

from caffelite.kernels import arrays, settings
from caffelite.kernels.launch import Call, call, kernel, specialised
from caffelite.kernels.packing import pack, panel_memory, panels
from caffelite.kernels.tile import SUMS, WIDTH, tile

#: Rows of a tile; the left operand is packed in panels of WIDTH rows.
ROWS = max(WIDTH // 2, 4)


@specialised
def _multiply(vectors: int, add: bool) -> Callable[..., None]:
    shape = (1, ROWS, vectors, 1, WIDTH, 0)
    lanes = vectors * WIDTH

    def multiply(begin, end, worker, a, k_offsets, zero, b, bias, out, m, n, sums):
        """out[i, j] (+)= bias[j] + sum over k of a[i, k] * b[k, j], both packed; a task is a tile."""
        count = len(k_offsets)
        down = (m + ROWS - 1) // ROWS
        scratch = worker * ROWS * lanes
        for task in range(begin, end):
            panel = task // down
            i = task % down * ROWS
            tile(a, i // WIDTH * count * WIDTH + i % WIDTH, k_offsets, count, zero, b, panel * count * lanes, sums,
                 scratch, shape)  # fmt: skip
            j = panel * lanes
            filled = min(lanes, n - j)
            for r in range(min(ROWS, m - i)):
                source = scratch + r * lanes
                target = (i + r) * n + j
                if add:
                    for lane in range(filled):
                        out[target + lane] += sums[source + lane]
                elif len(bias):
                    for lane in range(filled):
                        out[target + lane] = sums[source + lane] + bias[j + lane]
                else:
                    for lane in range(filled):
                        out[target + lane] = sums[source + lane]

    return multiply


@kernel
def _few_rows(begin, end, worker, a, b, bias, out, m, n, count):
    """out[i, j] = bias[j] + a[i] · b[j] where both are read along k; a task is a j."""
    for j in range(begin, end):
        for i in range(m):
            total = np.float32(0)
            for k in range(count):
                total += a[i * count + k] * b[j * count + k]
            if len(bias):
                total += bias[j]
            out[i * n + j] = total


def _vectors(n: int) -> int:
    """Choose the vectors of a tile for n columns: few wasted lanes, many sums."""
    most = min(SUMS // ROWS, 3)

    def cost(vectors: int) -> float:
        # A step of k takes its multiply-adds or its loads, two of each a cycle, and a little for the loop.
        return panels(n, vectors) * (max(ROWS * vectors, ROWS + vectors) / 2 + 1)

    return min(range(1, most + 1), key=cost)


def product(
    a: np.ndarray,
    a_steps: tuple[int, int],
    b: np.ndarray,
    b_steps: tuple[int, int],
    out: np.ndarray,
    size: tuple[int, int, int],
    bias: np.ndarray | None = None,
    add: bool = False,
) -> list[Call]:
    """Return the calls that compute ``out[i, j] = bias[j] + sum over k of a[i, k] * b[k, j]``.

    Parameters
    ----------
    a, b : ndarray of float32
        Read as flat memory.
    a_steps : (int, int)
        Distance in ``a`` between rows i and between columns k; one of them is 1.
    b_steps : (int, int)
        Distance in ``b`` between rows k and between columns j; one of them is 1.
    out : ndarray of float32
        m x n values, row by row.
    size : (int, int, int)
        m, n and the number of k.
    bias : ndarray of float32, optional
        n values.
    add : bool, optional
        Add to ``out`` (without bias) instead of setting it.
    """
    m, n, count = size
    a, b, out = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    bias = np.empty(0, np.float32) if bias is None else bias.reshape(-1)
    if m < 4 and a_steps[1] == b_steps[0] == 1 and not add:
        # Packing would cost more than the product.
        return [call(_few_rows, n, a, b, bias, out, m, n, count, work=m * n * count / WIDTH)]
    vectors = _vectors(n)
    left, right = panel_memory(m, 1, count, dtype=a.dtype), panel_memory(n, vectors, count, dtype=a.dtype)
    k = np.arange(count, dtype=np.int64)
    sums = arrays.zeros(settings.threads() * ROWS * vectors * WIDTH, a.dtype)
    return [
        pack(a, 0, k * a_steps[1], a_steps[0], m, 1, left),
        pack(b, 0, k * b_steps[0], b_steps[1], n, vectors, right),
        call(
            _multiply(vectors, add), -(-m // ROWS) * panels(n, vectors), left, k * WIDTH, np.zeros(1, np.int64),
            right, bias, out, m, n, sums, work=m * n * count / WIDTH,
        ),
    ]  # fmt: skip
