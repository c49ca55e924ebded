"""How a tensor is divided among the blocks and threads of a GPU.

A tensor [images][channels][length] is read in *vectors* of ``width`` elements. Those of a channel are counted through
all images. A block works on ``across`` channels that lie side by side, ``down`` threads on each of them, and takes
every ``down``-th vector; where a channel has many, several blocks share it (``splits``).
"""

from dataclasses import dataclass

#: Threads of a block, a power of two. With the 40 to 48 registers that they need, a multiprocessor holds five or six.
THREADS = 256
#: A warp, whose threads should read memory that lies together.
_WARP = 32
#: Blocks for each multiprocessor where a channel is shared: several waves, so that the last one costs little.
_BLOCKS = 16
#: Channels for each multiprocessor from which on one block a channel is enough.
_ENOUGH = 4
#: Vectors that a thread should have at least before a channel is shared.
_LEAST = 4


@dataclass(frozen=True)
class Division:
    """The shape of a grid, and what its threads need to find their elements.

    Attributes
    ----------
    across, down : int
        The block's shape: channels, and threads on each.
    tiles, splits : int
        The grid's shape: blocks over the channels, and blocks that share each.
    walk : tuple of int
        Channels; vectors in a row (one channel of one image); vectors of a channel in all images, and in a split;
        and for the step to a thread's next vector: how far it goes within a row, how far in memory, and how much
        farther where it comes into another row.
    """

    across: int
    down: int
    tiles: int
    splits: int
    walk: tuple[int, ...]

    @property
    def lanes(self) -> int:
        """Threads that the results of the splits of a channel are spread over, a power of two."""
        return min(_power(self.splits), self.down)


def _power(number: int) -> int:
    """Return the smallest power of two that is not less."""
    return 1 << (number - 1).bit_length()


def divide(images: int, channels: int, length: int, width: int, multiprocessors: int) -> Division:
    """Return how to divide a tensor.

    Parameters
    ----------
    images, channels, length : int
    width : int
        Elements of a vector; divides ``length``.
    multiprocessors : int
        Of the GPU.
    """
    vectors = length // width
    count = images * vectors
    across = 1
    while 2 * across * vectors <= _WARP and across < channels and 2 * across <= THREADS:
        across *= 2
    down = min(THREADS // across, max(_power(count), _WARP // across))
    tiles = -(-channels // across)
    splits = 1
    if tiles < _ENOUGH * multiprocessors:
        rounds = -(-count // down)
        splits = max(min(_BLOCKS * multiprocessors // tiles, rounds // _LEAST), 1)
    per = -(-count // splits)
    per += -per % down
    rows, rest = divmod(down, vectors)
    row = channels * vectors
    walk = (channels, vectors, count, per, rest, rows * row + rest, row - vectors)
    return Division(across, down, tiles, -(-count // per), walk)


def width_of(length: int, itemsize: int, addresses: tuple[int, ...]) -> int:
    """Return how many elements can be read at once: up to 16 bytes, if every row begins at a multiple of that."""
    width = 16 // itemsize
    while length % width or any(address % (width * itemsize) for address in addresses):
        width //= 2
    return width
