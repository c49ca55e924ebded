"""How the work of a convolution is cut: what a register tile takes at a time, and what a task takes.

Both are chosen for the least predicted time when a net is planned; nothing is measured then.
"""

from collections.abc import Callable
from dataclasses import dataclass

from caffelite.kernels.engine import settings
from caffelite.kernels.tiles.tile import REGISTERS, SUMS
from caffelite.kernels.tiles.vectors import WIDTH

#: Tasks of a gradient to the weights: fewer are taken only where there are no more, more are not taken.
LEAST_TASKS, _MOST_TASKS = 4, 16
#: Cycles of clearing, and adding up, a float of the sums of a part.
_SUM = 1.5
#: Cycles of bringing a vector of results to its map, where its lanes are output channels.
_FINISH = 7
#: Of the time of the products: what more tasks than two parts may cost.
_MORE = 0.01


@dataclass(frozen=True, slots=True)
class RegisterTile:
    """What a tile computes at a time.

    Attributes
    ----------
    outputs : int
        Output channels: the weights of as many lie side by side in a *panel*.
    vectors : int
        Vectors of pixels.
    piece : int
        Pixels that lie side by side in the map; a vector has WIDTH / piece such pieces.
    time : float
        The predicted time of a map, in cycles.
    """

    outputs: int
    vectors: int
    piece: int
    time: float

    @property
    def pieces(self) -> int:
        """Pieces of a tile's vectors."""
        return self.vectors * (WIDTH // self.piece)


def tile_for(lines: int, width: int, outputs: int, count: int) -> RegisterTile:
    """Choose the tile for a map of ``lines`` lines of ``width`` pixels: the least predicted time.

    ``count`` is the number of products of a result: channels times taps. A step of k takes as long as its
    multiply-adds, its loads (two a cycle; a vector of pixels counts for more, because it often lies across two cache
    lines and comes from the second cache), or the latency of a sum, whichever is longest.
    """
    best = RegisterTile(1, 1, WIDTH, float("inf"))
    for piece in (WIDTH, WIDTH // 2, WIDTH // 4):
        pieces = lines * -(-width // piece) if piece >= 4 else 0
        of_vector = WIDTH // piece if piece else 1
        for vectors in range(1, min(REGISTERS // 2, pieces // of_vector) + 1):
            for per_panel in range(1, min(outputs, REGISTERS) + 1):
                if per_panel * vectors + vectors + 1 > REGISTERS:
                    break
                loads = per_panel + 2.5 * vectors * of_vector + 1
                step = max(per_panel * vectors / settings.vector_products(), loads / 2 + 1, 5.0)
                tiles = -(-pieces // (of_vector * vectors)) * -(-outputs // per_panel)
                time = tiles * (count * step + per_panel * vectors * of_vector + 20)
                if time < best.time:
                    best = RegisterTile(per_panel, vectors, piece, time)
    return best


@dataclass(frozen=True, slots=True)
class OutputTile:
    """What a tile computes at a time whose lanes are output channels.

    Attributes
    ----------
    rows, columns : int
        Pixels; more than one row only of whole lines.
    vectors : int
        Vectors of output channels.
    time : float
        The predicted time of a map, in cycles.
    """

    rows: int
    columns: int
    vectors: int
    time: float


def output_tile_for(lines: int, width: int, outputs: int, count: int) -> OutputTile:
    """Choose the tile whose lanes are output channels; arguments as in :func:`tile_for`.

    A step of k takes as long as its multiply-adds, its loads, its weights, which come from the second cache, or the
    latency of a sum, whichever is longest; and the loop itself.
    """
    best = OutputTile(1, 1, 1, float("inf"))
    for vectors in range(1, min(-(-outputs // WIDTH), 4) + 1):
        for columns in range(1, min(width, SUMS // vectors) + 1):
            for rows in range(1, min(lines, SUMS // vectors // columns) + 1 if columns == width else 2):
                sums = rows * columns * vectors
                loads = rows * columns + vectors + rows
                step = max(sums / settings.vector_products(), 0.7 * loads, 4.3 * vectors, 5.0) + 0.5
                tiles = -(-lines // rows) * -(-width // columns) * -(-outputs // (vectors * WIDTH))
                time = tiles * (count * step + _FINISH * sums + 20)
                if time < best.time:
                    best = OutputTile(rows, columns, vectors, time)
    return best


def tile_of_taps(tap_rows: int, row_length: int, lanes: int) -> tuple[int, int]:
    """Choose the tile of a gradient to the weights: rows of taps, each a row of the kernel, and vectors of outputs."""
    best, best_time = (1, 1), float("inf")
    for vectors in range(1, 5):
        for rows in range(1, min(tap_rows, 8) + 1):
            total = rows * row_length * vectors
            if total > SUMS or total + vectors + 1 > SUMS + 4:
                continue
            step = max(total / 2, (rows * row_length + vectors) / 2, 5.0)
            time = -(-tap_rows // rows) * -(-lanes // (vectors * WIDTH)) * (step + 0.5)
            if time < best_time:
                best, best_time = (rows, vectors), time
    return best


def bands_for(
    images: int, taken: int, lines: int, pieces: int, panels: int, fits: Callable[[int], bool], whole: int
) -> tuple[int, int]:
    """Choose into how many bands of lines a map is cut, and its panels into how many parts.

    A band is small enough for the cache (``fits`` says so of a number of lines), and all threads have about as much to
    do; a band has at least ``whole`` lines, and the pieces that a tile takes, ``taken``. A line has ``pieces`` pieces.
    """
    most = max(lines // max(whole, -(-taken // pieces)), 1)

    def time(cut: tuple[int, int]) -> float:
        bands, parts = cut
        tiles = -(-(-(-lines // bands) * pieces) // taken)
        # In what a panel takes for a tile: reading its weights, and copying the band.
        task = (tiles + 1) * -(-panels // parts) + 0.5 * tiles
        return -(-images * bands * parts // threads) * task

    threads = settings.threads()
    fewest = next((bands for bands in range(1, most) if fits(-(-lines // bands))), most)
    cuts = [
        (bands, parts)
        for bands in range(fewest, min(most, fewest + 2 * threads) + 1)
        for parts in range(1, min(panels, 2 * threads) + 1)
    ]
    return min(cuts, key=time)


def parts_and_runs(
    blocks: int, groups: int, panels: int, sums: int, again: float, multiplications: int
) -> tuple[int, int]:
    """Choose how a gradient to the weights is cut: its blocks of pixels into parts, the panels of a group into runs.

    A task is a part, a group and a run. Each part has sums of its own, which are added in order: how many there are
    decides what the numbers are, so it must not depend on the threads. There are tasks for 16 threads where that costs
    next to nothing, else for 4 at least: a machine that has more threads leaves some of them idle here.

    Parameters
    ----------
    blocks, groups, panels : int
        How many there are; of panels those of a group.
    sums : int
        Floats of the sums of a part, of all groups.
    again : float
        Cycles of what each run prepares for itself, in all blocks.
    multiplications : int
        Of the whole gradient.

    Returns
    -------
    parts, runs : int
    """
    # Two products a cycle, though some machines do one: so the cut is that of the vectors' width alone.
    work = multiplications / (2 * WIDTH)
    numbers = [1 << i for i in range(_MOST_TASKS.bit_length())]
    cuts = [(parts, runs) for parts in numbers if parts <= blocks for runs in numbers if runs <= panels]

    def tasks(cut: tuple[int, int]) -> int:
        return min(cut[0] * cut[1] * groups, _MOST_TASKS)

    def time(cut: tuple[int, int]) -> float:
        parts, runs = cut
        # How much more the busier one of two threads has than the other: in tasks, or, of one part, in panels.
        equal = parts * groups * runs
        uneven = equal % 2 / equal + (-(-panels // runs) * runs / panels - 1 if parts * groups == 1 else 0)
        return parts * sums * _SUM + runs * again + uneven * work

    least = min(LEAST_TASKS, max(map(tasks, cuts)))
    enough = [cut for cut in cuts if tasks(cut) >= least]
    limit = time((min(2, blocks), 1)) + _MORE * work
    return min(enough, key=lambda cut: (-tasks(cut), time(cut)) if time(cut) <= limit else (0, time(cut)))
