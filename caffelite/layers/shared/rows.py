"""What Embed and BatchReindex share: numbers that choose rows."""

import numpy as np

from caffelite.errors import DataError
from caffelite.layers.contract.blobs import Step
from caffelite.layers.contract.layer import Layer


def row_checker(layer: Layer, bottom: int, index: np.ndarray, size: int) -> Step:
    """Return the step that raises DataError where a number is not a row of a table of this size."""

    def check() -> None:
        # Written so that NaN is wrong too.
        wrong = np.flatnonzero(~((index > -1) & (index < size)))
        if len(wrong):
            raise DataError(
                f"{layer.where('bottom', bottom)}: {index[wrong[0]]:g} is not one of its {size} rows (0 to {size - 1})"
            )

    return check
