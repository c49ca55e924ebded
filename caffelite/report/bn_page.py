"""The page of ``caffelite bn report``: what is wrong in words, then what was measured, each with its command."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from caffelite.batchnorm.check import CheckResult
from caffelite.batchnorm.rules import Finding
from caffelite.pages.charts import Charts, Series, side_by_side
from caffelite.pages.markup import Markup, element, table
from caffelite.pages.page import asset
from caffelite.report.bn_folding import Folding
from caffelite.report.bn_measuring import Layer, Measured
from caffelite.report.bn_verdict import Commands, Verdict, as_good, grouped, worth

#: Places of one finding that are shown with their lines, and lines around each.
_SHOWN, _AROUND = 3, 2
#: Characters of a line that are shown.
_LONG = 200
#: Steps in which the channels of a layer are drawn, and the standard deviations from which on a colour stays.
_STEPS, _FAR = 20, 1.0
#: Layers from which on a line tells more than their table.
_MANY = 6


def bn_page(checked: CheckResult, measured: Measured, answer: Verdict, commands: Commands) -> str:
    """Return the page.

    Parameters
    ----------
    checked : CheckResult
    measured : Measured
    answer : Verdict
    commands : Commands
    """
    charts = Charts()
    title = f"{Path(commands.net).name}: batch normalization"
    body: list[str] = [
        element("h1", title),
        element("p", f"{commands.net} with {commands.weights}; {checked.layers} normalizing layers.", class_="soft"),
        _verdict(answer),
        *_worth(charts, measured, commands),
        *_layers(charts, measured, commands),
        *_folding(measured, commands),
        *_findings(checked, commands),
        element("h2", "The whole page again"),
        _command(commands.of("bn", "report")),
    ]
    return charts.page(title, body, styles=(asset("bn_page.css", __package__),))


def _command(text: str) -> Markup:
    return element("pre", element("code", text))


def _verdict(answer: Verdict) -> Markup:
    kind = {True: "bad", False: "good", None: "soft"}[answer.wrong]
    head = {True: "Something is wrong.", False: "Nothing is wrong.", None: "Nothing could be measured."}[answer.wrong]
    sentences = [element("p", text) for text in answer.sentences]
    return element(
        "section",
        element("p", element("strong", head, class_=kind)),
        *sentences,
        _command(answer.command),
        id="verdict",
        class_=f"verdict {kind}",
    )


def _worth(charts: Charts, measured: Measured, commands: Commands) -> list[Markup]:
    heading = element("h2", "What the statistics are worth")
    if measured.stored is None:
        return [heading, element("p", f"Not tested: {measured.no_test}.", class_="soft")]
    rows = [[element("span", "stored"), worth(measured, measured.stored), element("code", commands.of("test"))]]
    if measured.anew and measured.anew[-1][1] is not None:
        batches, value = measured.anew[-1]
        rows.append(
            [
                f"measured anew over {batches * measured.train_batch:,} training images",
                worth(measured, value),
                element("code", commands.of("bn", "recalibrate", "--iterations", str(batches))),
            ]
        )
    if measured.batch in measured.own:
        rows.append(
            [
                f"of each test batch of {measured.batch:,}",
                worth(measured, measured.own[measured.batch]),
                element("code", commands.of("test", "--stats", "batch")),
            ]
        )
    what = f"{measured.output}, {measured.images:,} test images"
    return [
        heading,
        table(["statistics in the test", what, "command"], rows, frozenset({1}), id="worth"),
        element("p", _sizes_in_words(measured)),
        *([element("p", f"Not measured anew: {measured.no_train}.", class_="soft")] if measured.no_train else []),
        side_by_side(*_worth_charts(charts, measured)),
    ]


def _worth_charts(charts: Charts, measured: Measured) -> list[Markup]:
    unit = f"{measured.output}, %" if measured.share else measured.output
    drawn = []
    stored = _shown(measured, measured.stored)
    anew = [(batches * measured.train_batch, _shown(measured, value)) for batches, value in measured.anew]
    last = anew[-1][1] if anew else None
    if measured.own:
        sizes = list(measured.own)
        lines = [
            Series("of each test batch", sizes, [_shown(measured, value) for value in measured.own.values()]),
            _level("stored", sizes, stored),
            *([_level("measured anew", sizes, last)] if last is not None else []),
        ]
        drawn.append(charts.lines("Size of the test batch", "images a test batch", unit, lines, log_x=True))
    if last is not None:
        images = [count for count, _ in anew]
        own = measured.own.get(measured.batch)
        lines = [
            Series("measured anew", images, [value for _, value in anew]),
            _level("stored", images, stored),
            *([] if own is None else [_level("of each test batch", images, _shown(measured, own))]),
        ]
        drawn.append(charts.lines("Images to measure statistics over", "training images", unit, lines, log_x=True))
    return drawn


def _shown(measured: Measured, value: float | None) -> float | None:
    return value if value is None or not measured.share else 100 * value


def _level(name: str, x: Sequence[float], value: float | None) -> Series:
    return Series(name, x, [value] * len(x), dash=True)


def _sizes_in_words(measured: Measured) -> str:
    """Say what the size of a test batch does, and what it takes to measure statistics."""
    parts = []
    if len(measured.own) > 1:
        smallest, largest = min(measured.own), max(measured.own)
        parts.append(
            f"By its own statistics a test batch of {smallest:,} has {worth(measured, measured.own[smallest])}, one of "
            f"{largest:,} {worth(measured, measured.own[largest])}: an answer that depends on the other images is no "
            "answer for one image, so this is to compare with, not to use."
        )
    values = [(batches, value) for batches, value in measured.anew if value is not None]
    if len(values) > 1:
        last = values[-1][1]
        near = next(batches for batches, value in values if as_good(measured, value, last))
        parts.append(
            f"Statistics of {near * measured.train_batch:,} training images are as good as those of "
            f"{values[-1][0] * measured.train_batch:,}."
        )
    return " ".join(parts)


def _layers(charts: Charts, measured: Measured, commands: Commands) -> list[Markup]:
    heading = element("h2", "Stored beside measured, layer by layer")
    layers = measured.layers
    if not layers:
        return [heading, element("p", f"Not measured: {measured.no_train or 'no layer stores sums'}.", class_="soft")]
    batches = measured.anew[-1][0]
    rows = [
        [one.name, f"{one.channels:,}", f"{one.mean:.3f}", f"{one.variance_ratio:.3f}", str(one.worst_channel)]
        for one in layers
    ]
    worst = max(layers, key=lambda one: one.mean if np.isfinite(one.mean) else np.inf)
    steps = [100 * i / _STEPS for i in range(_STEPS + 1)]
    spread = [np.quantile(np.nan_to_num(one.shifts), np.array(steps) / 100).tolist() for one in layers]
    return [
        heading,
        element(
            "p",
            f'Furthest off is "{worst.name}": its stored means are {worst.mean:.2g} standard deviations from those of '
            f"{batches * measured.train_batch:,} training images on average, its stored variances "
            f"{worst.variance_ratio:.2g} times those. Where means are right this is below 0.1.",
        ),
        side_by_side(
            *([] if len(layers) < _MANY else [_distances(charts, layers)]),
            charts.heat(
                "Stored means too high or too low",
                "% of the channels, sorted",
                "layer",
                steps,
                [one.name for one in layers],
                spread,
                "standard deviations",
                limit=_FAR,
            ),
        ),
        table(
            ["layer", "channels", "means off, std. dev.", "variances times", "worst channel"],
            rows,
            frozenset({1, 2, 3, 4}),
            id="layers",
        ),
        _command(commands.of("bn", "show", "--iterations", str(batches))),
    ]


def _distances(charts: Charts, layers: Sequence[Layer]) -> Markup:
    line = Series("distance of the means", list(range(1, len(layers) + 1)), [_finite(one.mean) for one in layers])
    return charts.lines("Means off, by layer", "layer", "standard deviations", [line])


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _folding(measured: Measured, commands: Commands) -> list[Markup]:
    heading = element("h2", "What folding changes")
    if measured.folding is None:
        return [heading, element("p", f"Not folded: {measured.no_folding}.", class_="soft")]
    return [
        heading,
        element("p", _folded(measured.folding)),
        table(
            ["layer", "after folding"], [[name, place] for name, place in measured.folding.layers.items()], id="folded"
        ),
        _command(commands.of("bn", "fold")),
    ]


def _folded(folding: Folding) -> str:
    left = folding.left
    gone = (
        f"{len(folding.layers) - len(left)} of {len(folding.layers)} layers of BatchNorm, Scale and Bias go into others"
    )
    kept = f"; {', '.join(left)} become{'s' if len(left) == 1 else ''} a Scale layer" if left else ""
    return (
        f"{gone}{kept}. Over {folding.images:,} test images the scores differ by at most {folding.difference:.1e} of "
        f"the largest one, and {folding.changed:,} images are taken for another class. Folding mends nothing: it "
        "carries the stored statistics into the weights as they are."
    )


def _findings(checked: CheckResult, commands: Commands) -> list[Markup]:
    body = [element("h2", "What stands in the files")]
    if not checked.findings:
        body.append(element("p", "Nothing was found."))
    for name, mend, findings in grouped(checked):
        body.append(element("h3", f"{name}: {len(findings)} place{'' if len(findings) == 1 else 's'}"))
        for finding in findings[:_SHOWN]:
            where = f'layer "{finding.layer}": ' if finding.layer else ""
            body.append(element("p", element("strong", finding.place), " ", f"{where}{finding.problem}."))
            body += _lines(finding)
        if findings[_SHOWN:]:
            more = ", ".join(f"{one.place} ({one.layer})" for one in findings[_SHOWN:])
            body.append(element("details", element("summary", f"{len(findings) - _SHOWN} more"), element("p", more)))
        body.append(element("p", element("strong", "To mend it: "), f"{mend}."))
    return [*body, _command(commands.of("bn", "check"))]


def _lines(finding: Finding) -> list[Markup]:
    """Return the lines around the place of a finding; nothing where the file cannot be read or has no such place."""
    file, line, _ = finding.position()
    if line is None:
        return []
    try:
        text = Path(file).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    first = max(line - _AROUND, 1)
    shown = []
    for number, content in enumerate(text[first - 1 : line + _AROUND], first):
        cut = content if len(content) <= _LONG else f"{content[:_LONG]} …"
        shown.append(element("mark" if number == line else "span", f"{number:4d}  {cut}\n"))
    return [element("pre", *shown)]
