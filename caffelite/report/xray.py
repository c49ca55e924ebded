"""BatchNorm's X-ray on a page: words first, then how far each layer is behind, then channel by channel."""

import numpy as np

from caffelite.pages.charts import Charts, Value, side_by_side
from caffelite.pages.markup import Markup, element, join, table
from caffelite.report.behind import Verdict, verdict
from caffelite.report.curves import by_layer, columns
from caffelite.report.metrics import Line, Run

#: So many layers have their heat maps open, those that are furthest behind.
_OPEN = 6
#: Colours end here.
_MOST = {"mean": 2.0, "deviation": 100.0}

_MEANING = (
    "In training a BatchNorm layer normalizes by mean and variance of the batch; in TEST by those that it has stored, "
    "an average over the batches before. Where the weights change faster than that average, it lags behind, and the "
    "layer puts out other numbers in TEST than those that the layers behind it have learned from. Below, a row is a "
    "channel and a column a measurement: without colour where the stored value is that of the batch, orange where it "
    "is too large, blue where it is too small. Chance alone takes the mean of a batch of {images} images up to "
    "{chance:.2g} standard deviations from that of all images; a layer is behind where it is further."
)
_HELP = (
    "A lower learning rate at the end lets the average catch up; so does a smaller moving_average_fraction; "
    "“caffelite bn recalibrate” measures the statistics anew, and “caffelite test --stats batch” tells what they cost."
)


def verdicts(run: Run) -> dict[str, Verdict]:
    """Return what the last measurements say, by layer, the one that is furthest behind first."""
    layers = run.starts[-1]["batchnorm"] if run.starts else {}
    said = {
        name: verdict([line["batchnorm"][name] for line in run.train if name in line["batchnorm"]], layer["images"])
        for name, layer in layers.items()
    }
    known = [(name, one) for name, one in said.items() if one is not None]
    return dict(sorted(known, key=lambda pair: -max(pair[1].mean, pair[1].deviation)))


def summary(run: Run) -> str:
    """Say in a sentence how far the stored statistics are behind; empty where there are none."""
    said = verdicts(run)
    if not said:
        return ""
    at = f"at iteration {run.train[-1]['iteration']:,}"
    behind = {name: one for name, one in said.items() if one.behind}
    if not behind:
        worst = max(one.worst_mean for one in said.values())
        return (
            f"The stored statistics of BatchNorm are as close to those of the batch {at} as chance lets them be: no "
            f"mean is more than {worst:.2g} standard deviations away. TEST normalizes as training does."
        )
    name, one = next(iter(behind.items()))
    fraction = run.starts[-1]["batchnorm"][name]["fraction"]
    iterations = run.train[-1]["iteration"]
    reach = min(iterations, 1 / (1 - fraction)) if fraction is not None and fraction < 1 else iterations
    more = len(behind) - 1
    others = f"; {more} more of {len(said)} layers {'is' if more == 1 else 'are'} behind as well" if more else ""
    return (
        f"The stored statistics of {name}, an average over about the last {reach:,.0f} batches, are behind {at}: its "
        f"means are {one.mean:.2g} standard deviations from those of the batch (median of the channels; the worst "
        f"{one.worst_mean:.2g}; by chance it would be about {0.67 * one.chance:.2g}), its standard deviations "
        f"{100 * one.deviation:.0f}% (the worst {100 * one.worst_deviation:.0f}%){others}. TEST takes the stored ones: "
        "expect it to come out worse than what was trained."
    )


def section(charts: Charts, run: Run) -> list[Markup]:
    """Return the part of the page; empty where no layer normalizes by the batch and stores its statistics."""
    said = verdicts(run)
    if not said:
        return []
    layers = run.starts[-1]["batchnorm"]
    images = next(layers[name]["images"] for name in said)
    rows = [
        [
            name,
            _channels(layers[name]),
            f"{one.mean:.2f}",
            f"{one.worst_mean:.2f}",
            f"{100 * one.deviation:.0f}%",
            f"{100 * one.worst_deviation:.0f}%",
            element("span", "behind" if one.behind else "close", class_="bad" if one.behind else "good"),
        ]
        for name, one in said.items()
    ]
    head = ["layer", "channels", "means", "the worst", "deviations", "the worst", ""]

    def median(line: Line, name: str) -> Value:
        values = [abs(v) for v in line["batchnorm"].get(name, {}).get("mean", []) if v is not None]
        return float(np.median(values)) if values else None

    lines = [line for line in run.train if line["batchnorm"]]
    overview = by_layer(
        charts, "Distance of the means, median of the channels", "deviations", lines, median, sorted(said)
    )
    maps = {name: _heat_maps(charts, run, name, layers[name]) for name in said}
    closed: list[str] = [
        element("details", element("summary", name), side_by_side(*maps[name])) for name in list(said)[_OPEN:]
    ]
    return [
        element("h2", "BatchNorm: the stored statistics beside those of the batch", id="xray"),
        element("p", _MEANING.format(images=images, chance=images**-0.5)),
        element("p", _HELP),
        table(head, rows, frozenset({1, 2, 3, 4, 5})),
        element("p", "Means: in standard deviations. Both are of the last five measurements.", class_="soft"),
        side_by_side(overview),
        *[side_by_side(*maps[name]) for name in list(said)[:_OPEN]],
        join(closed),
    ]


def _channels(layer: Line) -> str:
    shown, count = len(layer["channels"]), layer["of"]
    return f"{count}" if shown == count else f"{count} ({shown} measured)"


def _times(values: list[Value], i: int, factor: int) -> Value:
    value = values[i] if i < len(values) else None
    return None if value is None else round(factor * value, 3)


def _heat_maps(charts: Charts, run: Run, name: str, layer: Line) -> list[Markup]:
    lines = columns([line for line in run.train if name in line["batchnorm"]])
    titles = {
        "mean": ("stored mean less the batch's", "deviations", 1),
        "deviation": ("stored deviation less the batch's", "%", 100),
    }
    drawn = []
    for key, (title, unit, factor) in titles.items():
        measured = [line["batchnorm"][name][key] for line in lines]
        rows = [[_times(values, i, factor) for values in measured] for i in range(len(layer["channels"]))]
        x = [line["iteration"] for line in lines]
        named = [str(channel) for channel in layer["channels"]]
        drawn.append(charts.heat(f"{name}: {title}", "iteration", "channel", x, named, rows, unit, limit=_MOST[key]))
    return drawn
