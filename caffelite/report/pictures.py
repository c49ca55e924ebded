"""Pictures of arrays: images on a sheet, filters and maps as a mosaic, a matrix of classes."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caffelite.draw import plots
from caffelite.words import printable

#: White between the tiles of a mosaic: what is about zero is grey.
_GAP = 255
#: Up to so many classes, cells of a matrix have their numbers; up to so many, their names stand beside it.
_NUMBERED, _NAMED = 20, 60
#: Letters of a name.
_LONGEST_NAME = 28


class Tile(NamedTuple):
    """An image on a sheet.

    Attributes
    ----------
    pixels : ndarray of uint8
        Height x width x 3.
    title : str
    """

    pixels: np.ndarray
    title: str


def png(pixels: np.ndarray) -> bytes:
    """Return an image as PNG.

    Parameters
    ----------
    pixels : ndarray of uint8
        Height x width x 3: red, green, blue.

    Notes
    -----
    W3C, "Portable Network Graphics (PNG) Specification", 2003: sections 5, 9 (filter 0) and 11.
    """
    height, width = pixels.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def stretched(values: np.ndarray) -> np.ndarray:
    """Return values as uint8, the least 0, the largest 255; what is not finite is 0."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(values[finite].min()), float(values[finite].max())
    scaled = (np.where(finite, values, low).astype(np.float64) - low) * (255 / (high - low) if high > low else 0)
    return np.rint(scaled).astype(np.uint8)


def mosaic(tiles: np.ndarray) -> np.ndarray:
    """Return tiles beside and below each other, nearly in a square, with a gap of a pixel between them.

    Parameters
    ----------
    tiles : ndarray of uint8
        N x height x width x 3.
    """
    number, height, width, _ = tiles.shape
    columns = max(1, min(number, round((number * height / width) ** 0.5)))
    rows = -(-number // columns)
    whole = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, 3), _GAP, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + 1), i % columns * (width + 1)
        whole[top : top + height, left : left + width] = tile
    return whole


def draw_sheet(tiles: Sequence[Tile], title: str, path: Path) -> None:
    """Draw images with titles, in rows.

    Raises
    ------
    MissingExtraError, Error
        matplotlib is not installed; the file cannot be written.
    """
    columns = min(6, len(tiles))
    rows = -(-len(tiles) // columns)
    with plots.axes_grid(rows, columns, 1.9 * columns, 2.4 * rows + 0.4) as (figure, grid):
        for axes in grid.flat:
            # With its axis off, the layout leaves no room for a title.
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
        for axes, tile in zip(grid.flat, tiles, strict=False):
            axes.imshow(tile.pixels, interpolation="nearest")
            axes.set_title("\n".join(map(plain, tile.title.split("\n"))), fontsize=7)
        figure.suptitle(plain(title, 110), fontsize=9)
        plots.save(figure, path)


def draw_confusion(matrix: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Draw which classes are taken for which: each row as shares of the images with that label.

    Parameters
    ----------
    matrix : ndarray of int
        Classes x classes, by label and prediction.
    names : sequence of str
    path : Path

    Raises
    ------
    MissingExtraError, Error
        matplotlib is not installed; the file cannot be written.
    """
    classes = len(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = 2.5 + 0.42 * min(classes, _NUMBERED) if classes <= _NUMBERED else 10
    with plots.axes_grid(1, 1, size + 0.8, size) as (figure, grid):
        axes = grid[0, 0]
        drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        bar = figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03)
        bar.set_label("share of the images with this label")
        if classes <= _NAMED:
            ticks = range(classes)
            axes.set_xticks(ticks, list(map(plain, names)), rotation=90, fontsize=7)
            axes.set_yticks(ticks, list(map(plain, names)), fontsize=7)
        if classes <= _NUMBERED:
            for (label, guess), number in np.ndenumerate(matrix):
                if number:
                    dark = shares[label, guess] > 0.5
                    axes.text(
                        guess, label, number, ha="center", va="center", fontsize=7, color="white" if dark else "#303030"
                    )
        axes.set_xlabel("prediction")
        axes.set_ylabel("label")
        plots.save(figure, path)


def plain(name: str, most: int = _LONGEST_NAME) -> str:
    """Return a name that matplotlib writes as it stands: dollars are formulas to it."""
    short = printable(name if len(name) <= most else f"{name[: most - 1]}…")
    return short.replace("$", r"\$")
