"""TransformationParameter: what is done to an image on its way into the net."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np

from caffelite.data.draws import below
from caffelite.errors import DataError
from caffelite.schema.blobs import read_blob
from caffelite.schema.messages import TransformationParameter
from caffelite.words import TRAIN, text_of


class Transformer:
    """Crop, mirror, mean and scale, in Caffe's order: ``(pixel - mean) * scale``.

    Parameters
    ----------
    param : TransformationParameter
        ``scale``, ``mirror``, ``crop_size``, ``mean_file`` or ``mean_value`` (one, or one a channel).
    shape : (int, int, int)
        Channels, height and width of the images.
    phase : int
        In TRAIN the crop lies anywhere, in TEST in the middle.
    where : callable
        ``where(setting)`` gives the place for errors.

    Attributes
    ----------
    mean : ndarray of float32, channels x height x width
    size : (int, int)
        Height and width of what comes out.
    """

    def __init__(
        self, param: TransformationParameter, shape: tuple[int, int, int], phase: int, where: Callable[[str], str]
    ) -> None:
        self.scale, self.mirror, self.random_crop = param.scale, param.mirror, phase == TRAIN
        self._where = where
        crop = param.crop_size
        if crop > min(shape[1:]):
            self._fail("crop_size", f"crop_size {crop} is larger than the images, {text_of(shape)}")
        self.size = (crop, crop) if crop else shape[1:]
        self.mean = np.zeros(shape, np.float32)
        self._one_size = bool(param.HasField("mean_file")) or not crop
        mean = read_mean(param, shape[0], where)
        if param.HasField("mean_file"):
            bare = mean.shape[1:] if mean.ndim == 4 and mean.shape[0] == 1 else mean.shape
            if bare != shape:
                self._fail(
                    "mean_file",
                    f'mean file "{param.mean_file}" has shape {text_of(mean.shape)}, but the images are '
                    f"{text_of(shape)}",
                )
            mean = mean.reshape(shape)
        self.mean[...] = mean

    def apply(self, image: np.ndarray, bits: np.ndarray, out: np.ndarray, what: str) -> None:
        """Make one image into what the net gets.

        Parameters
        ----------
        image : ndarray of uint8, channels x height x width
            Of the size of the first one; of any size that holds a crop where there is no mean file.
        bits : ndarray of uint64
            Three random numbers.
        out : ndarray, channels x crop height x crop width
        what : str
            What the image is called in errors.
        """
        (height, width), shape = self.size, self.mean.shape
        if self._one_size and image.shape != shape:
            raise DataError(f"{what} has shape {text_of(image.shape)}, the first {text_of(shape)}")
        spare = image.shape[1] - height, image.shape[2] - width
        if min(spare) < 0 or len(image) != len(out):
            raise DataError(f"{what} has shape {text_of(image.shape)}, too little for {text_of(out.shape)}")
        top, left = spare[0] // 2, spare[1] // 2
        if self.random_crop:
            top, left = int(below(bits[0], spare[0] + 1)), int(below(bits[1], spare[1] + 1))
        window = np.s_[:, top : top + height, left : left + width]
        target = out[:, :, ::-1] if self.mirror and bits[2] >> np.uint64(63) else out
        np.subtract(image[window], self.mean[window] if self._one_size else self.mean[:, :1, :1], out=target)
        target *= np.float32(self.scale)

    def _fail(self, setting: str, text: str) -> NoReturn:
        raise DataError(f"{self._where(setting)}: {text}")


def read_mean(param: TransformationParameter, channels: int, where: Callable[[str], str]) -> np.ndarray:
    """Return what is subtracted from images.

    Parameters
    ----------
    param : TransformationParameter
    channels : int
        Of the images.
    where : callable
        ``where(setting)`` gives the place for errors.

    Returns
    -------
    ndarray of float32
        The mean file in the shape that it has; else 1 or ``channels`` values x 1 x 1: ``mean_value``, or 0.

    Raises
    ------
    DataError
        Both are given, the file does not exist, or the number of values is neither 1 nor that of the channels.
    """
    if param.HasField("mean_file"):
        if param.mean_value:
            raise DataError(f"{where('mean_value')}: give either mean_file or mean_value, not both")
        if not Path(param.mean_file).exists():
            raise DataError(f'{where("mean_file")}: mean file "{param.mean_file}" does not exist')
        return read_blob(param.mean_file)
    values = list(param.mean_value) or [0.0]
    if len(values) not in (1, channels):
        raise DataError(f"{where('mean_value')}: mean_value is given {len(values)} times for {channels} channels")
    return np.array(values, np.float32)[:, None, None]
