"""TransformationParameter: what is done to an image on its way into the net."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from caffelite.errors import DataError
from caffelite.layers.base import TRAIN, text_of
from caffelite.schema.blobs import read_blob


class Transformer:
    """Crop, mirror, mean and scale, in Caffe's order: ``(pixel - mean) * scale``.

    Parameters
    ----------
    param : TransformationParameter message
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

    def __init__(self, param: Any, shape: tuple[int, int, int], phase: int, where: Callable[[str], str]) -> None:
        self.scale, self.mirror, self.random_crop = param.scale, param.mirror, phase == TRAIN
        self._where = where
        crop = param.crop_size
        if crop > min(shape[1:]):
            self._fail("crop_size", f"crop_size {crop} is larger than the images, {text_of(shape)}")
        self.size = (crop, crop) if crop else shape[1:]
        self.mean = np.zeros(shape, np.float32)
        if param.HasField("mean_file"):
            if param.mean_value:
                self._fail("mean_value", "give either mean_file or mean_value, not both")
            self._read_mean(param.mean_file, shape)
        elif param.mean_value:
            if len(param.mean_value) not in (1, shape[0]):
                self._fail("mean_value", f"mean_value is given {len(param.mean_value)} times for {shape[0]} channels")
            self.mean += np.array(param.mean_value, np.float32)[:, None, None]

    def _read_mean(self, path: str, shape: tuple[int, int, int]) -> None:
        if not Path(path).exists():
            self._fail("mean_file", f'mean file "{path}" does not exist')
        mean = read_blob(path)
        bare = mean.shape[1:] if mean.ndim == 4 and mean.shape[0] == 1 else mean.shape
        if bare != shape:
            self._fail(
                "mean_file", f'mean file "{path}" has shape {text_of(mean.shape)}, but the images are {text_of(shape)}'
            )
        self.mean[...] = mean.reshape(shape)

    def _fail(self, setting: str, text: str) -> NoReturn:
        raise DataError(f"{self._where(setting)}: {text}")
