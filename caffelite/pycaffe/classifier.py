"""A net that tells what is in an image: ``caffe.Classifier``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffelite.errors import ShapeError
from caffelite.pycaffe.images import centre, resize_image
from caffelite.pycaffe.images import oversample as ten_crops
from caffelite.pycaffe.net import Net
from caffelite.pycaffe.transformer import image_transformer
from caffelite.words import TEST


class Classifier(Net):
    """A net for images, with what prepares them.

    Parameters
    ----------
    model_file, pretrained_file : path
        A deploy net and its weights.
    image_dims : (int, int), optional
        Height and width to which images are brought before crops are cut from them; by default those of the input.
    mean, input_scale, raw_scale, channel_swap : optional
        See :class:`caffelite.pycaffe.transformer.Transformer`.

    Attributes
    ----------
    transformer : Transformer
    crop_dims, image_dims : ndarray of int
        Height and width of the input, and of the images that crops are cut from.

    Raises
    ------
    NetError, ShapeError, WeightsError
        Beside what a Net raises: it has no input for images, or a setting does not fit it.
    """

    def __init__(
        self,
        model_file: Any,
        pretrained_file: Any,
        image_dims: Sequence[int] | None = None,
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.crop_dims = np.array(self.blobs[self.inputs[0]].data.shape[2:])
        self.image_dims = self.crop_dims if image_dims is None else np.array(image_dims)
        centre(self.image_dims, self.crop_dims)

    def predict(self, inputs: Any, oversample: bool = True) -> np.ndarray:
        """Run the net over images.

        Parameters
        ----------
        inputs : sequence of arrays
            N images H x W x C, as :func:`caffelite.pycaffe.images.load_image` reads them.
        oversample : bool, optional
            Take the mean over ten crops of each (corners, centre, mirrored), else the crop in the centre.

        Returns
        -------
        ndarray of float32
            N x classes; the first output of the net.

        Raises
        ------
        ShapeError
            These are no images, or have not the channels of the input.
        """
        images = self._images(inputs)
        if oversample:
            crops = ten_crops(images, self.crop_dims)
        else:
            rows, columns = centre(self.image_dims, self.crop_dims)
            crops = images[:, rows, columns]
        in_ = self.inputs[0]
        prepared = np.stack([self.transformer.preprocess(in_, crop) for crop in crops])
        predictions = self.forward_all(**{in_: prepared})[self.outputs[0]]
        return predictions.reshape(len(images), 10, -1).mean(1) if oversample else predictions

    def _images(self, inputs: Any) -> np.ndarray:
        """Return images in the size that crops are cut from, N x H x W x C."""
        channels = self.blobs[self.inputs[0]].data.shape[1]
        images = [resize_image(image, self.image_dims) for image in inputs]
        if not images:
            raise ShapeError("there is no image to classify")
        if any(image.shape[2] != channels for image in images):
            other = next(image.shape[2] for image in images if image.shape[2] != channels)
            raise ShapeError(
                f"the net takes images of {channels} channels, and one of {other} is given; "
                "load_image(..., color=False) reads one, else three"
            )
        return np.stack(images)
