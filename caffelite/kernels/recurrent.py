"""One time step of an LSTM or a plain recurrent net, forward and backward; a task is a stream.

With σ the sigmoid and sums of what comes in and of the hidden values before, in the order of Caffe::

    i, f, o = σ(sums[0]), cont · σ(sums[1]), σ(sums[2])        g = tanh(sums[3])
    cell = f · cell before + i · g                             hidden = o · tanh(cell)

Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997; Donahue et al., "Long-term Recurrent Convolutional
Networks", 2015, for ``cont``, which is 0 where a sequence begins. In plain NumPy: ``naive.lstm_step``. Arrays are of
float and [streams][size], ``cont`` is [streams], unless it is said otherwise.
"""

from collections.abc import Callable

import numpy as np

from caffelite.kernels.engine.calls import Call, call
from caffelite.kernels.engine.compiling import kernel, specialised
from caffelite.kernels.functions import sigmoid32, tanh32

_F = np.float32
#: Simple operations an element of an LSTM takes.
_COST = 60


@kernel
def _enter(begin, end, worker, hidden, cont, out, copy, size):
    """out = copy = hidden · cont, which tells whether the sequence of a stream goes on."""
    for n in range(begin, end):
        for d in range(n * size, (n + 1) * size):
            value = hidden[d] * cont[n]
            out[d] = value
            copy[d] = value


@kernel
def _return(begin, end, worker, dy, d_entered, cont, d_hidden, size):
    """d_hidden = dy + d_entered · cont, the gradient of :func:`_enter` beside that of the top."""
    for n in range(begin, end):
        for d in range(n * size, (n + 1) * size):
            d_hidden[d] = dy[d] + d_entered[d] * cont[n]


@kernel
def _lstm_forward(begin, end, worker, sums, cont, before, gates, cell, hidden, size):
    """A step forward.

    ``sums`` and ``gates`` are [streams][4][size]; ``before`` is the cell before. ``gates``, ``cell`` and ``hidden`` are
    set.
    """
    for n in range(begin, end):
        base, four = n * size, 4 * n * size
        for d in range(size):
            i = sigmoid32(sums[four + d])
            f = cont[n] * sigmoid32(sums[four + size + d])
            o = sigmoid32(sums[four + 2 * size + d])
            g = tanh32(sums[four + 3 * size + d])
            gates[four + d] = i
            gates[four + size + d] = f
            gates[four + 2 * size + d] = o
            gates[four + 3 * size + d] = g
            c = f * before[base + d] + i * g
            cell[base + d] = c
            hidden[base + d] = o * tanh32(c)


@specialised
def _lstm_backward(clipped: bool) -> Callable[..., None]:
    """Make the kernel of a step back, whose gradients of the sums are cut off at a limit or not."""

    def backward(begin, end, worker, gates, before, cell, d_hidden, d_cell, d_sums, d_before, limit, size):
        """d_sums and d_before, which are set, from d_hidden and d_cell; d_sums between -limit and limit.

        ``gates`` and ``d_sums`` are [streams][4][size].
        """
        for n in range(begin, end):
            base, four = n * size, 4 * n * size
            for d in range(size):
                i = gates[four + d]
                f = gates[four + size + d]
                o = gates[four + 2 * size + d]
                g = gates[four + 3 * size + d]
                t = tanh32(cell[base + d])
                dh = d_hidden[base + d]
                dc = d_cell[base + d] + dh * o * (_F(1) - t * t)
                di = dc * g * i * (_F(1) - i)
                df = dc * before[base + d] * f * (_F(1) - f)
                do = dh * t * o * (_F(1) - o)
                dg = dc * i * (_F(1) - g * g)
                d_before[base + d] = dc * f
                if clipped:
                    high = _F(limit)
                    di = min(max(di, -high), high)
                    df = min(max(df, -high), high)
                    do = min(max(do, -high), high)
                    dg = min(max(dg, -high), high)
                d_sums[four + d] = di
                d_sums[four + size + d] = df
                d_sums[four + 2 * size + d] = do
                d_sums[four + 3 * size + d] = dg

    return backward


@kernel
def _tanh_forward(begin, end, worker, sums, y, size):
    """y = tanh(sums), which is set."""
    for i in range(begin * size, end * size):
        y[i] = tanh32(sums[i])


@kernel
def _tanh_backward(begin, end, worker, y, dy, d_sums, size):
    """d_sums = dy * (1 - y²)."""
    for i in range(begin * size, end * size):
        d_sums[i] = dy[i] * (_F(1) - y[i] * y[i])


def enter(hidden: np.ndarray, cont: np.ndarray, out: np.ndarray, copy: np.ndarray) -> Call:
    """Return the call that computes ``out = copy = hidden * cont``, with one number of ``cont`` for each row."""
    arrays = (hidden.reshape(-1), cont, out.reshape(-1), copy.reshape(-1))
    return call(_enter, len(cont), *arrays, hidden.size // len(cont), work=hidden.size)


def give_back(dy: np.ndarray, d_entered: np.ndarray, cont: np.ndarray, d_hidden: np.ndarray) -> Call:
    """Return the call that computes ``d_hidden = dy + d_entered * cont``, with one number of ``cont`` for each row."""
    arrays = (dy.reshape(-1), d_entered.reshape(-1), cont, d_hidden.reshape(-1))
    return call(_return, len(cont), *arrays, dy.size // len(cont), work=dy.size)


def lstm_forward(
    sums: np.ndarray, cont: np.ndarray, before: np.ndarray, gates: np.ndarray, cell: np.ndarray, hidden: np.ndarray
) -> Call:
    """Return the call that does a step of an LSTM.

    Parameters
    ----------
    sums : ndarray
        Streams x 4 x size: what goes into the gates i, f, o and g.
    cont : ndarray
        For each stream whether the cell before counts (1) or not (0).
    before : ndarray
        The cells before, streams x size.
    gates, cell, hidden : ndarray
        What is computed; ``gates`` may be ``sums``. The gate f is kept times ``cont``.
    """
    arrays = [a.reshape(-1) for a in (sums, cont, before, gates, cell, hidden)]
    return call(_lstm_forward, len(cont), *arrays, cell.size // len(cont), work=cell.size * _COST)


def lstm_backward(
    gates: np.ndarray,
    before: np.ndarray,
    cell: np.ndarray,
    d_hidden: np.ndarray,
    d_cell: np.ndarray,
    d_sums: np.ndarray,
    d_before: np.ndarray,
    limit: float = 0,
) -> Call:
    """Return the call that computes the gradients of a step of an LSTM.

    Parameters
    ----------
    gates, before, cell : ndarray
        As in :func:`lstm_forward`.
    d_hidden, d_cell : ndarray
        The gradients of what the step computed.
    d_sums, d_before : ndarray
        What is computed; ``d_before`` may be ``d_cell``.
    limit : float, optional
        Values of ``d_sums`` beyond it are cut to it; 0 for none.
    """
    arrays = [a.reshape(-1) for a in (gates, before, cell, d_hidden, d_cell, d_sums, d_before)]
    streams = cell.shape[-2]
    return call(_lstm_backward(limit > 0), streams, *arrays, float(limit), cell.size // streams, work=cell.size * _COST)


def tanh_forward(sums: np.ndarray, y: np.ndarray) -> Call:
    """Return the call that computes ``y = tanh(sums)``, rows along the last axis; ``y`` may be ``sums``."""
    size = y.shape[-1]
    return call(_tanh_forward, y.size // size, sums.reshape(-1), y.reshape(-1), size, work=y.size * 10)


def tanh_backward(y: np.ndarray, dy: np.ndarray, d_sums: np.ndarray) -> Call:
    """Return the call that computes ``d_sums = dy * (1 - y²)``, rows along the last axis."""
    size = y.shape[-1]
    return call(_tanh_backward, y.size // size, y.reshape(-1), dy.reshape(-1), d_sums.reshape(-1), size, work=y.size)
