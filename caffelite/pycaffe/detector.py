"""A net that tells what is in windows of an image: ``caffe.Detector``."""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from caffelite.errors import Error, ShapeError
from caffelite.pycaffe.images import load_image, resize_image
from caffelite.pycaffe.net import Net
from caffelite.pycaffe.transformer import image_transformer
from caffelite.words import TEST


class Detector(Net):
    """A net for windows of images, each brought to the size of the input, as R-CNN has it.

    Girshick, Donahue, Darrell, Malik, "Rich feature hierarchies for accurate object detection and semantic
    segmentation", 2014.

    Parameters
    ----------
    model_file, pretrained_file : path
        A deploy net and its weights.
    mean, input_scale, raw_scale, channel_swap : optional
        See :class:`caffelite.pycaffe.transformer.Transformer`.
    context_pad : int, optional
        How many pixels at each border of the input show what is around the window.

    Attributes
    ----------
    transformer : Transformer
    crop_dims : ndarray of int
        Height, width and channels of the input.
    crop_mean : ndarray
        What is beyond the image, as a value of images; with ``context_pad``.

    Raises
    ------
    NetError, ShapeError, WeightsError
        Beside what a Net raises: it has no input for images, or a setting does not fit it.
    """

    def __init__(
        self,
        model_file: Any,
        pretrained_file: Any,
        mean: Any = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        context_pad: int | None = None,
    ) -> None:
        super().__init__(model_file, TEST, weights=pretrained_file)
        self.transformer = image_transformer(self, mean, input_scale, raw_scale, channel_swap)
        self.configure_crop(context_pad)

    def configure_crop(self, context_pad: int | None) -> None:
        """Set how much of what is around a window is cut out with it, in pixels of the input.

        Raises
        ------
        ShapeError
            It leaves no pixel for the window.
        """
        in_ = self.inputs[0]
        channels, height, width = self.blobs[in_].data.shape[1:]
        if context_pad and 2 * context_pad >= min(height, width):
            raise ShapeError(f"a border of {context_pad} leaves nothing of an input of {height}×{width} for the window")
        self.context_pad = context_pad
        self.crop_dims = np.array((height, width, channels))
        if context_pad:
            transformer = self.transformer
            mean = transformer.mean.get(in_, np.zeros((channels, 1, 1), np.float32))
            if in_ in transformer.channel_swap:
                mean = mean[np.argsort(transformer.channel_swap[in_])]
            self.crop_mean = mean.transpose(1, 2, 0) / transformer.raw_scale.get(in_, 1)

    def crop(self, im: np.ndarray, window: Sequence[int]) -> np.ndarray:
        """Cut a window out of an image.

        Parameters
        ----------
        im : ndarray
            H x W x C.
        window : sequence of int
            ymin, xmin, ymax, xmax.

        Returns
        -------
        ndarray
            The window as it is; with ``context_pad``, in the size of the input with what is around it, and the mean
            where there is no image.

        Raises
        ------
        ShapeError
            The window has no pixel in the image.
        """
        box = np.asarray(window, np.int64)
        inside = np.clip(box, 0, [*im.shape[:2], *im.shape[:2]]) if box.shape == (4,) else np.zeros(4, np.int64)
        if (inside[:2] >= inside[2:]).any():
            raise ShapeError(
                f"a window is ymin, xmin, ymax, xmax in an image of {im.shape[0]}×{im.shape[1]}, not {box.tolist()}"
            )
        if not self.context_pad:
            return im[inside[0] : inside[2], inside[1] : inside[3]]
        size = self.crop_dims[:2]
        half = (box[2:] - box[:2] + 1) / 2
        reach = half * size / (size - 2 * self.context_pad)
        first, last = np.round(box[:2] + half - reach), np.round(box[:2] + half + reach)
        scale = size / (last - first + 1)
        top, left = np.round(np.maximum(0, -first) * scale).astype(int)
        # The sizes count the last row and column, and the pixels do not: the numbers are pycaffe's.
        first, last = np.clip(first, 0, im.shape[:2]), np.clip(last, 0, im.shape[:2])
        height, width = np.minimum(np.round((last - first + 1) * scale).astype(int), size - (top, left))
        (y0, x0), (y1, x1) = first.astype(int), last.astype(int)
        cut = np.ones(self.crop_dims, np.float32) * self.crop_mean
        cut[top : top + height, left : left + width] = resize_image(im[y0:y1, x0:x1], (height, width))
        return cut

    def detect_windows(self, images_windows: Iterable[tuple[Any, Iterable[Sequence[int]]]]) -> list[dict[str, Any]]:
        """Run the net over windows of images.

        Parameters
        ----------
        images_windows : iterable of (path, sequence of windows)
            Windows as for :meth:`crop`.

        Returns
        -------
        list of dict
            For each window ``window``, ``prediction`` (what the net's first output is for it) and ``filename``.

        Raises
        ------
        DataError
            An image cannot be read.
        ShapeError
            A window has no pixel in its image.
        """
        in_ = self.inputs[0]
        places, prepared = [], []
        for filename, windows in images_windows:
            image = load_image(filename)
            for window in windows:
                places.append({"window": window, "filename": filename})
                prepared.append(self.transformer.preprocess(in_, self.crop(image, window)))
        if not places:
            return []
        predictions = self.forward_all(**{in_: np.stack(prepared)})[self.outputs[0]]
        return [{**place, "prediction": prediction} for place, prediction in zip(places, predictions, strict=True)]

    def detect_selective_search(self, image_fnames: Any) -> NoReturn:
        """Refuse: the windows of Selective Search come from a program in MATLAB.

        Raises
        ------
        Error
        """
        raise Error(
            "windows by Selective Search need MATLAB, which caffelite does not call; give windows from elsewhere to "
            "detect_windows (detect.py --crop_mode list)"
        )
