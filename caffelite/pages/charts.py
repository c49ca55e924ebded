"""Charts of a page that are drawn in the browser: lines and heat maps. ``chart.js`` draws them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from caffelite.pages.markup import Markup, element
from caffelite.pages.page import asset, page

#: A value; None is a gap, which is marked.
Value = float | None


class Series(NamedTuple):
    """A line of a chart.

    Attributes
    ----------
    name : str
    x : sequence of float
        In rising order.
    y : sequence of float or None
    dash : bool
        Drawn with a dash: a line that goes with another one.
    """

    name: str
    x: Sequence[float]
    y: Sequence[Value]
    dash: bool = False


class Charts:
    """The charts of one page; each is an element to be put anywhere on it."""

    def __init__(self) -> None:
        self._specs: dict[str, dict[str, Any]] = {}

    def lines(
        self,
        title: str,
        x_label: str,
        y_label: str,
        series: Sequence[Series],
        *,
        log: bool = False,
        log_x: bool = False,
        smooth: float | None = None,
    ) -> Markup:
        """Return a line chart: zoom by dragging, a read-out, a legend that switches lines, a logarithmic scale.

        Parameters
        ----------
        title, x_label, y_label : str
        series : sequence of Series
        log, log_x : bool, optional
            Whether y begins with a logarithmic scale (a button switches it); whether x has one.
        smooth : float, optional
            There is a slider for smoothing, which begins here: 0 or more, less than 1.
        """
        drawn = [{**one._asdict(), "x": list(one.x), "y": list(one.y)} for one in series]
        spec = {"kind": "lines", "xLabel": x_label, "yLabel": y_label, "series": drawn, "log": log, "logX": log_x}
        return self._add(title, spec if smooth is None else spec | {"smooth": smooth})

    def heat(
        self,
        title: str,
        x_label: str,
        y_label: str,
        x: Sequence[float],
        rows: Sequence[str],
        values: Sequence[Sequence[Value]],
        unit: str,
        *,
        limit: float | None = None,
    ) -> Markup:
        """Return a heat map; what is below zero is blue, what is above it orange.

        Parameters
        ----------
        title, x_label, y_label : str
        x : sequence of float
            What the columns are, evenly spaced; one or more.
        rows : sequence of str
            What the rows are called.
        values : sequence of sequence of float or None
            By row, then by column.
        unit : str
            Of the values.
        limit : float, optional
            The value, or the size of a negative one, from which on the colour stays; by default the largest.
        """
        spec = {"kind": "heat", "xLabel": x_label, "yLabel": y_label, "x": list(x), "rows": list(rows), "unit": unit}
        return self._add(title, spec | {"values": [list(row) for row in values], "limit": limit})

    def _add(self, title: str, spec: dict[str, Any]) -> Markup:
        name = f"chart{len(self._specs)}"
        self._specs[name] = spec | {"title": title}
        return element("div", data_chart=name)

    def page(
        self, title: str, body: list[str], *, styles: tuple[str, ...] = (), scripts: tuple[str, ...] = (), **data: Any
    ) -> str:
        """Return a page with these charts; ``data`` is beside them in ``pageData()``. See :func:`.page.page`."""
        return page(
            title,
            body,
            styles=(asset("chart.css"), *styles),
            scripts=(asset("chart.js"), *scripts),
            data={"charts": self._specs, **data},
        )


def side_by_side(*charts: Markup) -> Markup:
    """Return charts beside one another, where there is room."""
    return element("div", *charts, class_="charts")
