"""The page of a run: how it stands in words, then curves, layers, BatchNorm's X-ray."""

import time
from collections.abc import Sequence

from caffelite.pages.charts import Charts, side_by_side
from caffelite.pages.markup import Markup, element
from caffelite.pages.page import asset
from caffelite.report import xray
from caffelite.report.curves import learning, losses, norms, pace
from caffelite.report.metrics import Run

#: Seconds between two looks of an open page at a run that goes on.
LOOK_AGAIN = 5
#: So many of the last warnings are shown.
_NOTES = 10


def run_page(run: Run, others: Sequence[Run] = ()) -> str:
    """Return the page of a run.

    It looks again by itself as long as the run goes on, unless its button says otherwise.

    Parameters
    ----------
    run : Run
    others : sequence of Run, optional
        Runs whose curves are drawn beside its own.
    """
    charts = Charts()
    runs = [run, *others]
    live = run.end is None
    body: list[str] = [
        element("h1", _title(run)),
        *_status(run),
        *([_follow()] if live else []),
        side_by_side(*learning(charts, runs), *pace(charts, runs)),
        *xray.section(charts, run),
        element("h2", "Layers"),
        element("p", "Euclidean norms of what each layer learns: weights and biases together.", class_="soft"),
        side_by_side(*norms(charts, run)),
        element("p", f"Written {time.strftime('%Y-%m-%d %H:%M:%S')} by caffelite.", class_="soft"),
    ]
    script, style = asset("run.js", __package__), asset("run.css", __package__)
    return charts.page(
        _title(run), body, styles=(style,), scripts=(script,), live=live, written=time.time(), seconds=LOOK_AGAIN
    )


def _title(run: Run) -> str:
    return f"{run.starts[-1]['net']}: training" if run.starts else "training"


def _follow() -> Markup:
    return element(
        "p",
        element("button", "follow", type="button", id="follow", aria_pressed="true", title="look again by itself"),
        " ",
        element("button", "look again", type="button", id="again"),
        " ",
        element("span", "", id="stale", class_="bad"),
        class_="controls",
    )


def _status(run: Run) -> list[Markup]:
    """Return how the run stands, what is wrong with it first."""
    parts = []
    if run.end is not None and run.end["reason"]:
        parts.append(element("p", f"This run did not come to its end: {run.end['reason']}", class_="state bad"))
    if (gone := _not_a_number(run)) is not None:
        parts.append(element("p", f"The loss is not a number from iteration {gone:,} on.", class_="state bad"))
    parts.append(element("p", "; ".join(_progress(run)) + ".", class_="state"))
    if said := xray.summary(run):
        behind = any(one.behind for one in xray.verdicts(run).values())
        more = element("a", "Channel by channel", href="#xray")
        parts.append(element("p", said, " ", more, class_="state warn" if behind else "state"))
    notes = [element("li", f"iteration {note['iteration']:,}: {note['text']}") for note in run.notes[-_NOTES:]]
    if notes:
        parts.append(element("ul", *notes, class_="soft"))
    return parts


def _not_a_number(run: Run) -> int | None:
    """Return the first of the last iterations whose losses are not finite; None where the last one is."""
    at = None
    for iteration, value in reversed(losses(run)):
        if value is not None:
            break
        at = int(iteration)
    return at


def _progress(run: Run) -> list[str]:
    if not run.train:
        return ["Nothing is measured yet"]
    last, end = run.train[-1], run.starts[-1]["max_iter"]
    at = (run.end or last)["iteration"]
    parts = [f"Iteration {at:,} of {end:,}"]
    if run.end is None and last["seconds_left"]:
        parts.append(f"{_duration(last['seconds_left'])} left")
    if last["images_per_second"]:
        parts.append(f"{last['images_per_second']:,.0f} images a second")
    if last["waiting"] is not None:
        parts.append(f"{100 * last['waiting']:.2g}% of the time waiting for data")
    shares = {name for start in run.starts for name in start["shares"]}
    newest = {line["net"]: line for line in run.tests}
    for net, line in sorted(newest.items()):
        values = [
            f"{name} {100 * value[0]:.4g}%" if name in shares else f"{name} {value[0]:.4g}"
            for name, value in line["outputs"].items()
            if len(value) == 1 and value[0] is not None
        ]
        which = f" of net {net}" if len(newest) > 1 else ""
        parts.append(f"test{which} at iteration {line['iteration']:,}: {', '.join(values)}")
    return parts


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
