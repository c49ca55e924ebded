"""What is done to an image before a net reads it: order of channels, mean and scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from caffelite.data.transform import read_mean
from caffelite.errors import DataError, NetError
from caffelite.net.graph import included
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import TransformationParameter
from caffelite.schema.npz import read_npy
from caffelite.words import TEST, Shape, text_of

#: The orders of channels that a net may take; Caffe's tools write databases in the first one.
ORDERS = ("BGR", "RGB")


@dataclass(frozen=True)
class Preprocessing:
    """``(pixel - mean) * scale``, of images in RGB or grey, 0 to 255.

    Attributes
    ----------
    param : TransformationParameter
        ``scale``, and ``mean_value`` or ``mean_file``: a binaryproto, or an array in ``.npy``.
    order : str
        The order in which the net takes channels: one of :data:`ORDERS`.
    source : str
        Where that is said, for errors.
    """

    param: TransformationParameter = field(default_factory=TransformationParameter)
    order: str = ORDERS[0]
    source: str = "preprocessing"

    def told(self) -> dict[str, object]:
        """Return it in words that JSON has; what makes no difference is left out."""
        param, told = self.param, dict[str, object](channel_order=self.order)
        if param.mean_value:
            told["mean_value"] = [round(value, 6) for value in param.mean_value]
        for name in ("mean_file", "crop_size"):
            if param.HasField(name):
                told[name] = getattr(param, name)
        return {**told, "scale": round(param.scale, 9)}

    def mean(self, shape: Shape) -> np.ndarray:
        """Return what is subtracted: channels x 1 x 1, or the middle of a mean image, as Caffe crops in TEST.

        Parameters
        ----------
        shape : (int, int, int)
            Of what the net reads: channels, height and width.

        Raises
        ------
        DataError
            It cannot be read, or has another number of channels; a mean image is smaller than what the net reads.
        """
        if self.param.mean_file.endswith(".npy"):
            mean = _array(Path(self.param.mean_file), self.source)
        else:
            mean = read_mean(self.param, shape[0], lambda setting: self.source)
        size: Shape = mean.shape[-3:] if mean.ndim >= 3 else (mean.size, 1, 1)
        spare = (0, 0) if size[1:] == (1, 1) else (size[1] - shape[1], size[2] - shape[2])
        if mean.size != math.prod(size) or size[0] not in (1, shape[0]) or min(spare) < 0:
            raise DataError(
                f"{self.source}: the mean {self.param.mean_file} is {text_of(mean.shape)}, which does not cover images "
                f"of {text_of(shape)}"
            )
        mean = mean.reshape(size)
        top, left = (n // 2 for n in spare)
        return np.ascontiguousarray(mean[:, top : top + shape[1], left : left + shape[2]])

    def check(self, shape: Shape, what: str) -> None:
        """Refuse what is not one or three channels of images of a known size."""
        if shape[0] not in (1, 3) or min(shape) < 1:
            raise NetError(f"{what} is {text_of(shape)}; preprocessing is for images of 1 or 3 channels")

    def reverses(self, channels: int) -> bool:
        """Whether the channels of RGB go in from the last to the first."""
        return channels == 3 and self.order == "BGR"

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Return what the net reads of images, uint8, N x height x width x channels: float32, N x channels x …."""
        channels = images.shape[3]
        order = [2, 1, 0] if self.reverses(channels) else list(range(channels))
        planes = np.moveaxis(images[..., order], 3, 1).astype(np.float32)
        return (planes - self.mean(planes.shape[1:])) * np.float32(self.param.scale)


def of_data(document: NetDocument, level: int = 0, stages: Sequence[str] = ()) -> Preprocessing | None:
    """Return what the data layer of the TEST phase does to images; None where no layer says it."""
    for i, param in enumerate(document.message.layer):
        place = partial(document.place, i)
        if param.HasField("transform_param") and included(param, TEST, level, stages, place):
            return Preprocessing(param.transform_param, source=place("transform_param"))
    return None


def with_mean(known: Preprocessing | None, mean: str | None, scale: float | None, order: str) -> Preprocessing | None:
    """Return what is known, with what is given in words in its place; None where nothing is known or given.

    Parameters
    ----------
    known : Preprocessing or None
        What the net says.
    mean : str or None
        ``104,117,123``, or the name of a file.
    scale : float or None
    order : str
        One of :data:`ORDERS`.

    Raises
    ------
    DataError
        The mean is neither numbers nor a file.
    """
    if mean is None and scale is None:
        return known and replace(known, order=order)
    param = TransformationParameter()
    if known is not None:
        param.CopyFrom(known.param)
    if scale is not None:
        param.scale = scale
    if mean is not None:
        values = _numbers(mean)
        if values is None and not Path(mean).is_file():
            raise DataError(
                f'the mean "{mean}" is neither numbers with commas between, B,G,R, nor a file that is there'
            )
        param.ClearField("mean_value")
        param.ClearField("mean_file")
        if values is None:
            param.mean_file = mean
        else:
            param.mean_value.extend(values)
    return Preprocessing(param, order, "the mean that was given")


def _numbers(text: str) -> Sequence[float] | None:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return None


def _array(path: Path, source: str) -> np.ndarray:
    try:
        return read_npy(path)
    except DataError as error:
        raise DataError(f"{source}: {error.message}") from None
