"""What looking into a net shows, as one picture or as a page."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caffelite.draw import plots
from caffelite.pages.markup import element, table
from caffelite.pages.page import page, write_page
from caffelite.report.pictures import plain, png

#: Pixels are shown as they are.
_STYLE = """
.look { display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-start; margin-top: 1.5rem; }
.look figure { margin: 0; flex: 0 1 22rem; min-width: 0; }
.look img { width: 100%; image-rendering: pixelated; border: 1px solid var(--line); }
.look figcaption { overflow-wrap: anywhere; }
"""


class Panel(NamedTuple):
    """A picture with its title.

    Attributes
    ----------
    title : str
    pixels : ndarray of uint8
        Height x width x 3.
    """

    title: str
    pixels: np.ndarray


class Guess(NamedTuple):
    """A class and its output.

    Attributes
    ----------
    name : str
    value : float
    text : str
        The value as it is written.
    """

    name: str
    value: float
    text: str


def draw_panels(title: str, panels: Sequence[Panel], guesses: Sequence[Guess], path: Path) -> None:
    """Draw panels, two beside each other, and the classes as bars.

    Raises
    ------
    MissingExtraError, Error
        matplotlib is not installed; the file cannot be written.
    """
    number = len(panels) + bool(guesses)
    columns = min(2, number)
    rows = -(-number // columns)
    with plots.axes_grid(rows, columns, 5 * columns, 4.6 * rows + 0.3) as (figure, grid):
        places = list(grid.flat)
        for axes in places[number:]:
            axes.axis("off")
        for axes, panel in zip(places, panels, strict=False):
            axes.imshow(panel.pixels, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.set_title(plain(panel.title, 60), fontsize=9)
        if guesses:
            axes = places[len(panels)]
            names = [plain(f"{guess.name}  {guess.text}", 44) for guess in guesses]
            places_of_bars = range(len(guesses))
            axes.barh(places_of_bars, [guess.value for guess in guesses], color=plots.COLOURS[0])
            axes.set_yticks(places_of_bars, names, fontsize=8)
            axes.invert_yaxis()
            axes.set_title("top classes", fontsize=9)
        figure.suptitle(plain(title, 110), fontsize=10)
        plots.save(figure, path)


def write_look(title: str, panels: Sequence[Panel], guesses: Sequence[Guess], path: Path) -> None:
    """Write the page.

    Raises
    ------
    Error
        The file cannot be written.
    """
    parts: list[str] = [element("h1", title)]
    if guesses:
        rows = [[guess.name, guess.text] for guess in guesses]
        parts += [element("h2", "Top classes"), table(["class", "output"], rows, frozenset({1}))]
    figures = []
    for panel in panels:
        source = "data:image/png;base64," + base64.b64encode(png(panel.pixels)).decode()
        image = element("img", src=source, alt=panel.title)
        figures.append(element("figure", image, element("figcaption", panel.title)))
    parts.append(element("div", *figures, class_="look"))
    write_page(path, page(title, parts, styles=(_STYLE,)))
