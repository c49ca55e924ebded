"""What the commands that make databases share: their options, progress and what they tell at the end."""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from caffelite.cli.arguments import add_threads, whole
from caffelite.cli.databases import add_json
from caffelite.cli.terminal import on_terminal, progress, say
from caffelite.imagesets.datums import Conversion
from caffelite.imagesets.items import Imageset
from caffelite.imagesets.making import Made, make
from caffelite.words import text_of

#: Images between two lines of progress where there is no terminal, as in Caffe.
_LINE = 1000
#: So many images that cannot be read are told one by one.
_MOST_TOLD = 10


def add_conversion(parser: argparse.ArgumentParser) -> None:
    """Add what becomes of images on their way into a database."""
    parser.add_argument("--gray", action="store_true", help="make the images grey")
    parser.add_argument("--shuffle", action="store_true", help="write them in a random order")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of that order (1)")
    for name in ("height", "width"):
        parser.add_argument(f"--resize-{name}", type=int, default=0, metavar="N", help=f"{name} they are resized to")
    parser.add_argument(
        "--check-size", action="store_true", help="end with an error where an image has another size than the first"
    )
    parser.add_argument(
        "--encoded", action="store_true", help="store the images encoded, files that need no change as they are"
    )
    parser.add_argument(
        "--encode-type", default="", metavar="TYPE", help="what they are encoded as: png, jpg, bmp, webp"
    )
    parser.add_argument("--labels", type=whole, metavar="N", help="numbers at the end of a line, which go to DB_labels")
    parser.add_argument("--append", action="store_true", help="add to the database that is there, all images or none")
    add_threads(parser)
    add_json(parser)


@contextmanager
def counting(total: int, text: str) -> Iterator[Callable[[], None]]:
    """Show how far a command is: the function that is given is called after each image.

    On a terminal there is a bar with the rate and the time left, elsewhere a line every 1,000 images.
    """
    count = 0
    with progress(total, text, " images") as step:

        def done() -> None:
            nonlocal count
            count += 1
            step()
            if not on_terminal() and count % _LINE == 0:
                say(f"Processed {count} files.")

        yield done


def write(arguments: argparse.Namespace, imageset: Imageset, target: Path) -> Made:
    """Write the database of a set of images, as :func:`add_conversion` takes it; what cannot be read is told."""
    conversion = Conversion(
        max(arguments.resize_height, 0),
        max(arguments.resize_width, 0),
        arguments.gray,
        arguments.encoded,
        arguments.encode_type,
        arguments.check_size,
    )
    items = imageset.items
    if arguments.shuffle:
        items = [items[i] for i in np.random.default_rng(arguments.seed).permutation(len(items))]
    told = 0

    def skip(problem: str) -> None:
        nonlocal told
        told += 1
        if told <= _MOST_TOLD:
            say(f"left out: {problem}")

    say(f"A total of {len(items)} images.")
    with counting(len(items), f"writing {target.name}") as done:
        made = make(target, items, conversion, arguments.append, skip, done)
    if told > _MOST_TOLD:
        say(f"left out: {told - _MOST_TOLD} more")
    return made


def tell(arguments: argparse.Namespace, target: Path, made: Made, classes: Path | None = None) -> None:
    """Print what was written."""
    shape = next(iter(made.shapes)) if len(made.shapes) == 1 else None
    if arguments.json:
        answer = {
            "database": str(target),
            "images": made.images,
            "left_out": made.skipped,
            "shape": shape,
            "labels": made.labels and str(made.labels),
            "classes": classes and str(classes),
        }
        print(json.dumps(answer))
        return
    sized = f"of {text_of(shape)}" if shape else f"of {len(made.shapes)} sizes"
    parts = [f"{target}: {made.images} images {sized}{' more' if arguments.append else ''}"]
    parts += [f"{made.skipped} could not be read"] if made.skipped else []
    parts += [f"labels: {made.labels}"] if made.labels else []
    parts += [f"classes: {classes}"] if classes else []
    print("; ".join(parts))
    if not shape:
        say("a net takes images of one size: --resize-height and --resize-width make them so")
