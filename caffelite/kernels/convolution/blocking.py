"""How the work of a correlation is cut: what a register tile takes at a time, and what a task takes.

Both are chosen for the least predicted time when a net is planned; nothing is measured then.
"""

from collections.abc import Callable
from dataclasses import dataclass

from caffelite.kernels.engine import settings
from caffelite.kernels.tiles.tile import REGISTERS
from caffelite.kernels.tiles.vectors import WIDTH


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


def bands_for(
    images: int, tile: RegisterTile, lines: int, pieces: int, panels: int, fits: Callable[[int], bool], whole: int
) -> tuple[int, int]:
    """Choose into how many bands of lines a map is cut, and its panels into how many parts.

    A band is small enough for the cache (``fits`` says so of a number of lines), and all threads have about as much to
    do; a band has at least ``whole`` lines, and pieces for a tile. A line has ``pieces`` pieces.
    """
    most = max(lines // max(whole, -(-tile.pieces // pieces)), 1)

    def time(cut: tuple[int, int]) -> float:
        bands, parts = cut
        tiles = -(-(-(-lines // bands) * pieces) // tile.pieces)
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
