"""What ``transform_param`` asks for: crop, mirror, mean, scale, as Caffe's DataTransformer does it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from caffelite.data.draws import below, draws
from caffelite.errors import DataError, WeightsError
from caffelite.kernels.launch import call
from caffelite.kernels.transform import transform
from caffelite.schema.blobs import read_blob

_TRAIN = 0
_FIRST_FORK_FIELD = 20000
_FORK_CROPS = ("crop_h", "crop_w", "crop_height", "crop_width")
Shape = tuple[int, int, int]


def color_of(param: Any, where: str) -> bool | None:
    """Return how encoded images are to be decoded: True for colour, False for grey, None as they are.

    Parameters
    ----------
    param : TransformationParameter message
    where : str
        Place and layer, for the error.
    """
    if param.force_color and param.force_gray:
        raise DataError(f"{where}: force_color and force_gray exclude each other")
    return True if param.force_color else False if param.force_gray else None


class Transformer:
    """y = (x - mean) · scale over a window of the image, perhaps mirrored.

    The window of ``crop_size`` is drawn at random in the TRAIN phase and central in TEST (the extra row or column
    above and left); ``mirror`` flips every other image at random, in TEST too, as in Caffe. The mean file is
    subtracted at the window's place, before mirroring.

    What people get wrong: ``scale`` comes after the mean, so a mean file is in the units of the stored pixels; a
    mean file has the size of the stored image, not of the window; ``mean_value`` follows the order of the channels
    in the record, which is blue, green, red in databases made by Caffe's tools.

    Parameters
    ----------
    param : TransformationParameter message
    phase : int
        0 for TRAIN, 1 for TEST.
    shape : tuple of int
        Channels, height, width of the stored images.
    seed : int
        The draws for record number n of a run are a function of this and n.
    where : str
        Place and layer, for errors.

    Raises
    ------
    DataError
        Settings that contradict each other, or do not fit the images.

    Attributes
    ----------
    output_shape : tuple of int
        Channels, height, width of what comes out.
    mean : (C, H, W) float32
        Zeros where there is none.
    """

    def __init__(self, param: Any, phase: int, shape: Shape, seed: int = 1, where: str = "transform_param") -> None:
        self.shape, self.seed, self.where = shape, seed, where
        self.scale = float(param.scale)
        self.mirror = bool(param.mirror)
        self._refuse_unknown(param)
        rows = param.crop_h or param.crop_height or param.crop_size
        columns = param.crop_w or param.crop_width or param.crop_size
        if rows > shape[1] or columns > shape[2]:
            raise DataError(
                f"{where}: a window of {rows}×{columns} (crop_size) is larger than the images, which are "
                f"{shape[1]}×{shape[2]}"
            )
        self.output_shape: Shape = (shape[0], rows or shape[1], columns or shape[2])
        self.random_window = phase == _TRAIN and self.output_shape != shape
        self.mean = self._mean(param)

    def _refuse_unknown(self, param: Any) -> None:
        for field, _ in param.ListFields():
            if field.number >= _FIRST_FORK_FIELD and field.name not in _FORK_CROPS:
                raise DataError(f"{self.where}: {field.name} is of a fork of Caffe and is not carried out here")

    def _mean(self, param: Any) -> np.ndarray:
        mean = np.zeros(self.shape, np.float32)
        values = np.array(param.mean_value, np.float32)
        if param.HasField("mean_file"):
            if len(values):
                raise DataError(f"{self.where}: mean_file and mean_value exclude each other")
            mean[...] = self._mean_file(Path(param.mean_file))
        elif len(values) in (1, self.shape[0]):
            mean[...] = values[:, None, None]
        elif len(values):
            raise DataError(
                f"{self.where}: there are {len(values)} mean_values for images of {self.shape[0]} channels; "
                f"give one, or one for each channel"
            )
        return mean

    def _mean_file(self, path: Path) -> np.ndarray:
        if not path.exists():
            raise DataError(f"{self.where}: mean file {path} does not exist")
        try:
            mean = read_blob(path)
        except WeightsError as error:
            raise DataError(f"{self.where}: mean file {error}") from None
        while mean.ndim > 3 and mean.shape[0] == 1:
            mean = mean[0]
        if mean.shape != self.shape:
            found, expected = ("×".join(map(str, shape)) for shape in (mean.shape, self.shape))
            raise DataError(f"{self.where}: mean file {path} is of shape {found}, but the images are of {expected}")
        return mean

    def draw(self, first: int, tops: np.ndarray, lefts: np.ndarray, flips: np.ndarray) -> None:
        """Draw windows and mirrorings for the records ``first``, ``first + 1`` … of a run.

        Parameters
        ----------
        first : int
        tops, lefts : (N,) int64
            The first row and column of each window are written here.
        flips : (N,) bool
        """
        _, height, width = self.shape
        _, rows, columns = self.output_shape
        tops[:] = (height - rows) // 2
        lefts[:] = (width - columns) // 2
        flips[:] = False
        if not (self.mirror or self.random_window):
            return
        bits = draws(self.seed, first, len(tops), 3)
        if self.mirror:
            flips[:] = below(bits[:, 0], 2)
        if self.random_window:
            tops[:] = below(bits[:, 1], height - rows + 1)
            lefts[:] = below(bits[:, 2], width - columns + 1)

    def bind(self, source: np.ndarray, output: np.ndarray) -> Callable[[int], None]:
        """Return the function that transforms a batch.

        Parameters
        ----------
        source : (N, C, H, W) uint8 or float32
        output : (N, C, h, w) float32

        Returns
        -------
        callable
            Takes the number of the batch's first record in the run.
        """
        count = len(source)
        tops, lefts = np.zeros(count, np.int64), np.zeros(count, np.int64)
        flips = np.zeros(count, np.bool_)
        # On one thread: it runs beside the training, which has the others.
        step = call(transform, count, source, self.mean, self.scale, tops, lefts, flips, output, work=0)

        def run(first: int) -> None:
            self.draw(first, tops, lefts, flips)
            step()

        return run
