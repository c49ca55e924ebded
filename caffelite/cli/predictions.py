"""What ``caffelite test`` tells of single classes and images: a matrix of confusion, a sheet of the worst."""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffelite.cli.arguments import UsageError
from caffelite.cli.outputs import check_outputs
from caffelite.cli.terminal import say
from caffelite.draw import plots
from caffelite.errors import Error
from caffelite.export.preprocessing import of_data, pixels_of
from caffelite.files import atomic_write
from caffelite.net import Net
from caffelite.report.class_names import class_names
from caffelite.report.pictures import Tile, draw_confusion, draw_sheet
from caffelite.report.predictions import Predictions
from caffelite.solvers.sources import NetSource
from caffelite.words import columns, printable

#: Images on a sheet.
_WORST = 36
#: So many classes are told of in words, those that do worst.
_MOST_CLASSES = 20
_PICTURES = (".png", ".svg", ".pdf")


def add_predictions(parser: argparse.ArgumentParser) -> None:
    """Add the files to be written."""
    add = parser.add_argument
    add(
        "--confusion",
        type=Path,
        metavar="OUTPUT",
        help="write which classes are taken for which: .csv, .png, .svg, .pdf",
    )
    add("--worst", type=Path, metavar="OUTPUT", help="draw the images with the largest losses: .png, .svg, .pdf")
    add("--labels", type=Path, metavar="FILE", help="names of the classes, a line each (their numbers)")


def check_predictions(arguments: argparse.Namespace, file: Path, nets: int) -> None:
    """Refuse, before anything is computed, what cannot be written, or is asked of several nets."""
    if arguments.labels and not (arguments.confusion or arguments.worst):
        raise UsageError("--labels is for --confusion and --worst")
    for option, output, endings in (
        ("--confusion", arguments.confusion, (".csv", *_PICTURES)),
        ("--worst", arguments.worst, _PICTURES),
    ):
        if output is None:
            continue
        if output.suffix not in endings:
            raise UsageError(f"{option} {output}: its name ends with {', '.join(endings[:-1])} or {endings[-1]}")
        if output.suffix in _PICTURES:
            plots.require()
        if nets > 1:
            raise UsageError(f"{option} is for one net, and {file} tests {nets}: give the file of one net")
        for read in (file, *([arguments.labels] if arguments.labels else [])):
            check_outputs({output: read}, "is a file that is read; give another name")


def predictions_of(net: Net, arguments: argparse.Namespace) -> tuple[Predictions | None, Sequence[str]]:
    """Return what counts the predictions of a net, and the names of its classes; None where nothing of it is asked."""
    if not (arguments.confusion or arguments.worst):
        return None, []
    predictions = Predictions(net, _WORST if arguments.worst else 0)
    return predictions, class_names(arguments.labels, predictions.classes)


def write_predictions(
    predictions: Predictions, names: Sequence[str], source: NetSource, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Write the files that were asked for; return what is told of each class."""
    if arguments.confusion:
        if arguments.confusion.suffix == ".csv":
            _write_matrix(predictions, names, arguments.confusion)
        else:
            draw_confusion(predictions.matrix, names, arguments.confusion)
        say(f"{arguments.confusion}: {predictions.matrix.sum():,} predictions of {predictions.classes} classes")
    if arguments.worst:
        _write_worst(predictions, names, source, arguments.worst)
    return [
        {
            "class": i,
            "name": name,
            "labelled": labelled,
            "right": right,
            "accuracy": right / labelled if labelled else None,
            "predicted": predicted,
        }
        for i, (name, (labelled, right, predicted)) in enumerate(zip(names, predictions.by_class(), strict=True))
    ]


def _write_matrix(predictions: Predictions, names: Sequence[str], path: Path) -> None:
    try:
        with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["label", *names])
            writer.writerows([name, *row] for name, row in zip(names, predictions.matrix.tolist(), strict=True))
    except OSError as error:
        raise Error(f"{path}: the matrix cannot be written: {error.strerror}") from None


def _write_worst(predictions: Predictions, names: Sequence[str], source: NetSource, path: Path) -> None:
    worst = predictions.worst()
    if not worst:
        raise Error(f"{path}: no image of the test has a label that counts, so there is none to draw")
    known = of_data(source.document, source.level, source.stages)
    tiles = [
        Tile(
            pixels_of(example.pixels, known),
            f"#{example.number}, loss {example.loss:.3g}\n{names[example.label]}\nas {names[example.prediction]}",
        )
        for example in worst
        if example.pixels is not None
    ]
    draw_sheet(tiles, f"the largest losses of {predictions.images:,} images: label, and what it was taken for", path)
    say(f"{path}: {len(tiles)} of {predictions.images:,} images")


def class_table(classes: Sequence[dict[str, Any]]) -> str:
    """Return how each class does, for people: of many those that do worst."""
    known = [told for told in classes if told["labelled"]]
    chosen = sorted(known, key=lambda told: told["accuracy"])[:_MOST_CLASSES] if len(known) > _MOST_CLASSES else known
    rows = [
        [
            printable(told["name"]),
            f"{100 * told['accuracy']:.1f}%",
            f"{told['right']:,} of {told['labelled']:,}",
            f"{told['predicted']:,}",
        ]
        for told in chosen
    ]
    table = columns([["class", "accuracy", "right", "predicted"], *rows])
    return table if len(known) == len(chosen) else f"{table}\nthe worst {len(chosen)} of {len(known)} classes"
