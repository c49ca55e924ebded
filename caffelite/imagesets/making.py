"""A database of items: converted on all cores, written in their order, whole or not at all."""

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from caffelite.data.database import open_database
from caffelite.data.records import decode
from caffelite.data.writing import LONGEST_KEY, Record, append_database, last_key, write_database
from caffelite.errors import DataError, MissingExtraError
from caffelite.imagesets.datums import Conversion, Converted, convert
from caffelite.imagesets.items import Item
from caffelite.kernels.engine import settings
from caffelite.schema.messages import Datum
from caffelite.words import Shape, text_of

_In = TypeVar("_In")
_Out = TypeVar("_Out")

#: Items that a thread takes at a time, and such portions that are under way, a thread.
_PORTION, _AHEAD = 4, 3
#: Digits of a key, as Caffe's tools write them.
_DIGITS = 8


class Made(NamedTuple):
    """What was written.

    Attributes
    ----------
    images : int
        Records.
    skipped : int
        Images that could not be read.
    shapes : set of tuple
        Channels, height and width of the images.
    labels : Path or None
        The database of their labels, where these are not single whole numbers.
    """

    images: int
    skipped: int
    shapes: set[Shape]
    labels: Path | None


def beside(target: Path, ending: str) -> Path:
    """Return what belongs to a database: ``flowers_labels.lmdb`` to ``flowers.lmdb``."""
    stem = target.name.removesuffix(".lmdb")
    return target.with_name(f"{stem}_{ending}{target.name[len(stem) :]}")


def in_order(function: Callable[[_In], _Out], values: Iterable[_In]) -> Generator[_Out, None, None]:
    """Yield ``function(value)`` of each value, in their order, found on as many threads as there are cores to use.

    Who does not take all of them closes it. Left to the garbage collector, it waits for its threads in whichever thread
    that runs in: in one that is just being started, for ever.
    """
    threads = settings.threads()
    rest = iter(values)
    pending: deque[Future[list[_Out]]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        while True:
            while len(pending) < _AHEAD * threads and (portion := list(islice(rest, _PORTION))):
                pending.append(pool.submit(lambda some: [function(one) for one in some], portion))
            if not pending:
                return
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def make(
    target: Path,
    items: Iterable[Item],
    conversion: Conversion,
    append: bool = False,
    skip: Callable[[str], None] | None = None,
    done: Callable[[], object] = lambda: None,
) -> Made:
    """Write the database of some items.

    Keys are the item's number, in eight digits, and its name, as in Caffe. Where labels are not single whole numbers, a
    second database, beside it, has them under the same keys.

    Parameters
    ----------
    target : Path
    items : iterable of Item
    conversion : Conversion
    append : bool
        Put them into the database that is there.
    skip : callable, optional
        Takes what is wrong with an image that cannot be read and is left out; by default it is an error.
    done : callable
        Is called after each item.

    Raises
    ------
    DataError
        An image or a label is wrong, all images are, or there are none; the database is there, or, to be added to, is
        not, or is of other images.
    OSError
        It cannot be written.
    """
    start, digits, first = 0, _DIGITS, None
    if append:
        start, digits = _continued(target)
        first = _first_of(target)
    elif target.exists():
        raise DataError(f"{target} is there already; remove it first, or append to it")
    rest = iter(items)
    example = next(rest, None)
    if example is None:
        raise DataError(f"there is nothing to write to {target}: no images")
    writer = _Records(target, start, digits, conversion.check_size, first, skip, done)
    labels = None if isinstance(example.label, int) else beside(target, "labels")
    if append and labels is None and beside(target, "labels").exists():
        raise DataError(f"{target} has labels in {beside(target, 'labels')}; these images have whole numbers")
    if labels is not None and labels.exists() != append:
        raise DataError(f"{labels} is {'not there' if append else 'there already'}; it goes with {target}")
    if labels:
        writer.row = _first_of(labels).shape[0] if append else np.size(example.label)
    write = append_database if append else write_database
    with closing(in_order(lambda item: _attempt(item, conversion), chain([example], rest))) as converted:
        count = write(target, writer.records(converted), {labels: writer.labels} if labels else {})
    return Made(count, writer.skipped, writer.shapes, labels)


def _attempt(item: Item, conversion: Conversion) -> Converted | DataError:
    try:
        return convert(item, conversion)
    except MissingExtraError:
        raise
    except DataError as error:
        return error


def _continued(target: Path) -> tuple[int, int]:
    """Return the number that comes after the last key of a database, and how many digits keys have."""
    key = last_key(target)
    number = re.match(rb"\d+", key)
    if number is None:
        shown = key[:40].decode("utf-8", "replace")
        raise DataError(f'{target} cannot be continued: its last key, "{shown}", does not begin with a number')
    return int(number[0]) + 1, len(number[0])


def _first_of(target: Path) -> Converted:
    """Return the first record of a database, which what is added has to be like."""
    database = open_database(target)
    try:
        value = database.read(0)
    finally:
        database.close()
    what = f"{target}: record 0"
    pixels, _ = decode(value, what)
    kind = "encoded" if Datum.FromString(value).encoded else str(pixels.dtype)
    return Converted(Item("", None, 0, what), value, pixels.shape, kind)


class _Records:
    """Records for a database, from items that have been converted."""

    def __init__(
        self,
        target: Path,
        start: int,
        digits: int,
        check_size: bool,
        first: Converted | None,
        skip: Callable[[str], None] | None,
        done: Callable[[], object],
    ) -> None:
        self._target, self._start, self._digits, self._check_size = target, start, digits, check_size
        self._added = first is not None
        self._first, self._skip, self._done = first, skip, done
        self.labels: list[Record] = []
        self.row: int | None = None
        self.skipped = 0
        self.shapes: set[Shape] = set()

    def records(self, attempts: Iterable[Converted | DataError]) -> Iterator[Record]:
        for number, attempt in enumerate(attempts, self._start):
            if isinstance(attempt, DataError):
                if self._skip is None:
                    raise attempt
                self.skipped += 1
                self._skip(str(attempt))
            else:
                self._check(attempt)
                self.shapes.add(attempt.shape)
                key = self._key(number, attempt.item)
                label = self._label(attempt.item)
                if label is not None:
                    self.labels.append((key, label))
                yield key, attempt.value
            self._done()
        if not self.shapes:
            raise DataError(f"none of {self.skipped} images could be read, so {self._target} is not written")

    def _check(self, new: Converted) -> None:
        if self._first is None:
            self._first = new
        first = self._first
        sized = self._check_size or (self._added and first.kind != "encoded")
        if first.kind != new.kind and (self._added or "float32" in (first.kind, new.kind)):
            raise DataError(
                f"{new.item.what} is stored as {new.kind}, the first image of {self._target} as {first.kind}"
            )
        if sized and new.shape != first.shape:
            raise DataError(
                f"{new.item.what} is of {text_of(new.shape)}, the first image of {self._target} of "
                f"{text_of(first.shape)}; resize_height and resize_width make all of one size"
            )

    def _key(self, number: int, item: Item) -> bytes:
        digits = b"%0*d" % (self._digits, number)
        if len(digits) > self._digits:
            raise DataError(f"{self._target}: its keys have {self._digits} digits, too few for image {number}")
        name = item.name.encode("utf-8", "surrogateescape")
        # A key that LMDB does not take is cut: its number keeps it apart from the others.
        return (digits + b"_" + name if name else digits)[:LONGEST_KEY]

    def _label(self, item: Item) -> bytes | None:
        """Return the record of an item's labels, where those are in a database of their own."""
        row = None if isinstance(item.label, int) else len(item.label)
        if row != self.row:
            kinds = ["a whole number" if size is None else f"a row of {size}" for size in (row, self.row)]
            raise DataError(f"the label of {item.what} is {kinds[0]}, that of the first image {kinds[1]}")
        if isinstance(item.label, int):
            return None
        return Datum(channels=row, height=1, width=1, float_data=item.label.tolist()).SerializeToString()
