"""Plots by matplotlib, readable on a light and on a dark page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caffelite.errors import Error, MissingExtraError
from caffelite.files import atomic_write

#: Lines are told apart by these, and by their dashes.
COLOURS = ("#1f8fd0", "#e07b20", "#2fa05a", "#c94f7c", "#8a6fd0", "#9a8a20")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
# A middle grey for text and axes, and no background.
_GREY = "#808080"
_GREY_PARTS = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")


def require() -> None:
    """Refuse to go on without matplotlib.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtraError("plots need matplotlib: pip install 'caffelite[plot]'") from None


@contextmanager
def axes_grid(rows: int, columns: int, width: float, height: float) -> Iterator[tuple[Any, Any]]:
    """Make a figure and its axes, an array of ``rows`` and ``columns``; ``width`` and ``height`` are in inches.

    Raises
    ------
    MissingExtraError
        matplotlib is not installed.
    """
    require()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # The names of elements in an SVG are random without a salt.
    style: Any = {"svg.hashsalt": "caffelite", **dict.fromkeys(_GREY_PARTS, _GREY)}
    with pyplot.rc_context(style):
        figure, axes = pyplot.subplots(rows, columns, figsize=(width, height), squeeze=False)
        try:
            yield figure, axes
        finally:
            pyplot.close(figure)


def save(figure: Any, path: Path) -> None:
    """Write a figure, in the format that the file's name ends with.

    Raises
    ------
    Error
        The file cannot be written.
    """
    figure.tight_layout()
    kind = path.suffix[1:]
    try:
        with atomic_write(path) as temporary:
            figure.savefig(
                temporary, format=kind, transparent=True, dpi=120, metadata={"Date": None} if kind == "svg" else None
            )
    except OSError as error:
        raise Error(f"{path}: the plot cannot be written: {error.strerror}") from None
