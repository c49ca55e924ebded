"""The mean of a database's images, as Caffe's ``compute_image_mean`` finds it."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np

from caffelite.data.database import open_database
from caffelite.data.records import decode
from caffelite.errors import DataError
from caffelite.imagesets.making import in_order
from caffelite.words import text_of


def image_mean(source: str | Path, done: Callable[[], object] = lambda: None) -> tuple[np.ndarray, int]:
    """Return the mean image of a database, and how many images it has.

    Parameters
    ----------
    source : path
        An LMDB of Datum records, raw or encoded.
    done : callable
        Is called after each record.

    Returns
    -------
    mean : ndarray of float32, channels x height x width
        The sum, one image after the other in float32 as in Caffe, divided by their number.
    count : int

    Raises
    ------
    DataError
        The database is missing or damaged, or its images are not all of one size.
    """
    database = open_database(source)

    def image(number: int) -> np.ndarray:
        return decode(database.read(number), f"{source}: record {number}")[0]

    try:
        total = np.zeros(0, np.float32)
        with closing(in_order(image, range(len(database)))) as images:
            for number, pixels in enumerate(images):
                if not number:
                    total = np.zeros(pixels.shape, np.float32)
                if pixels.shape != total.shape:
                    raise DataError(
                        f"{source}: record {number} has shape {text_of(pixels.shape)}, the first "
                        f"{text_of(total.shape)}; a mean takes images of one size"
                    )
                total += pixels
                done()
        return total / np.float32(len(database)), len(database)
    finally:
        database.close()
