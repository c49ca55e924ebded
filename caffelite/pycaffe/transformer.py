"""From an image to what a net takes, and back: ``caffe.io.Transformer``."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caffelite.errors import NetError, ShapeError
from caffelite.pycaffe.images import resize_image
from caffelite.words import did_you_mean, quoted, text_of

if TYPE_CHECKING:
    from caffelite.pycaffe.net import Net


class Transformer:
    """Prepares images for the inputs of a net.

    In this order: the input's height and width, another order of axes (``set_transpose``), another order of channels
    (``set_channel_swap``), times ``set_raw_scale``, less ``set_mean``, times ``set_input_scale``. What is not set is
    left out.

    Parameters
    ----------
    inputs : mapping of str to tuple of int
        The shapes of the inputs, N x C x H x W: ``{"data": net.blobs["data"].data.shape}``.

    Attributes
    ----------
    inputs : mapping
    transpose, channel_swap, raw_scale, mean, input_scale : dict
        What was set, by input; the mean as C x 1 x 1 or C x H x W.
    """

    def __init__(self, inputs: Mapping[str, Sequence[int]]) -> None:
        self.inputs = inputs
        self.transpose: dict[str, Sequence[int]] = {}
        self.channel_swap: dict[str, Sequence[int]] = {}
        self.raw_scale: dict[str, float] = {}
        self.mean: dict[str, np.ndarray] = {}
        self.input_scale: dict[str, float] = {}

    def _shape(self, in_: str) -> tuple[int, ...]:
        if in_ not in self.inputs:
            names = ", ".join(map(quoted, self.inputs)) or "none"
            raise NetError(f"{quoted(in_)} is not one of the inputs: {names}{did_you_mean(in_, self.inputs)}")
        return tuple(self.inputs[in_])

    def preprocess(self, in_: str, data: Any) -> np.ndarray:
        """Return an image as the net takes it.

        Parameters
        ----------
        in_ : str
            The input.
        data : array
            H' x W' x K; it stays as it is.

        Returns
        -------
        ndarray of float32
            K x H x W where ``set_transpose(in_, (2, 0, 1))`` was called, else H x W x K.

        Raises
        ------
        NetError
            There is no such input.
        ShapeError
            The image has not the axes or the channels that were set.
        """
        dims = self._shape(in_)[2:]
        image = np.array(data, dtype=np.float32)
        if image.shape[:2] != dims:
            image = resize_image(image, dims)
        order = self.transpose.get(in_)
        if order is not None:
            if len(order) != image.ndim:
                raise ShapeError(f"an image for input {quoted(in_)} has {len(order)} axes, not {text_of(image.shape)}")
            image = image.transpose(order)
        swap = self.channel_swap.get(in_)
        if swap is not None:
            if len(image) <= max(swap):
                raise ShapeError(
                    f"the channel swap {tuple(swap)} of input {quoted(in_)} does not fit an image of "
                    f"{len(image)} channels"
                )
            image = image[list(swap)]
        if in_ in self.raw_scale:
            image *= self.raw_scale[in_]
        if in_ in self.mean:
            mean = self.mean[in_]
            if np.broadcast_shapes(image.shape[:1], mean.shape[:1]) != image.shape[:1]:
                raise ShapeError(
                    f"the mean of input {quoted(in_)} has {len(mean)} channels, the image {text_of(image.shape)}"
                )
            image -= mean
        if in_ in self.input_scale:
            image *= self.input_scale[in_]
        return image

    def deprocess(self, in_: str, data: Any) -> np.ndarray:
        """Return what a net took as the image it was, in the input's size; the inverse of :meth:`preprocess`.

        Parameters
        ----------
        in_ : str
        data : array
            An image as the net has it, with or without an axis of 1 before it.
        """
        self._shape(in_)
        given = np.asarray(data)
        image = np.squeeze(given.astype(np.result_type(given, np.float32)))
        order = self.transpose.get(in_)
        if order is not None and image.ndim != len(order):
            # An axis of 1 that is the image's own.
            image = image.reshape(given.shape[-len(order) :])
        if in_ in self.input_scale:
            image /= self.input_scale[in_]
        if in_ in self.mean:
            image += self.mean[in_]
        if in_ in self.raw_scale:
            image /= self.raw_scale[in_]
        swap = self.channel_swap.get(in_)
        if swap is not None:
            image = image[np.argsort(swap)]
        return image if order is None else image.transpose(np.argsort(order))

    def set_transpose(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of an image's axes: (2, 0, 1) makes C x H x W of H x W x C."""
        axes = len(self._shape(in_)) - 1
        if sorted(order) != list(range(axes)):
            raise ShapeError(f"the order of axes for input {quoted(in_)} names each of 0 to {axes - 1}, not {order}")
        self.transpose[in_] = order

    def set_channel_swap(self, in_: str, order: Sequence[int]) -> None:
        """Set the order of channels, the first axis: (2, 1, 0) makes blue, green, red of red, green, blue."""
        channels = self._shape(in_)[1]
        if len(order) != channels:
            raise ShapeError(f"the channel swap of input {quoted(in_)} names {channels} channels, not {len(order)}")
        self.channel_swap[in_] = order

    def set_raw_scale(self, in_: str, scale: float) -> None:
        """Set what the image is multiplied by: 255 for nets that learned from values in 0..255."""
        self._shape(in_)
        self.raw_scale[in_] = scale

    def set_mean(self, in_: str, mean: Any) -> None:
        """Set what is subtracted after the raw scale.

        Parameters
        ----------
        in_ : str
        mean : array
            A number a channel; or C x H x W, also with an axis of 1 before it as files have it, or H x W for every
            channel: in another size it is resized.

        Raises
        ------
        NetError
            There is no such input.
        ShapeError
            It is not for that many channels.
        """
        shape = self._shape(in_)
        values = np.asarray(mean)
        if values.ndim == 1:
            values = values[:, None, None]
        elif values.ndim == 2:
            values = values[None]
        elif values.ndim == 4 and len(values) == 1:
            values = values[0]
        per_channel = values.ndim == 3 and values.shape[1:] == (1, 1)
        channels = (shape[1],) if per_channel else (1, shape[1])
        if values.ndim != 3 or len(values) not in channels:
            raise ShapeError(
                f"the mean of input {quoted(in_)} is {shape[1]} numbers or of shape {text_of(shape[1:])}, "
                f"not {text_of(np.shape(mean))}"
            )
        if not per_channel and values.shape[1:] != shape[2:]:
            values = resize_image(values.transpose(1, 2, 0), shape[2:]).transpose(2, 0, 1)
        self.mean[in_] = values

    def set_input_scale(self, in_: str, scale: float) -> None:
        """Set what the values are multiplied by last."""
        self._shape(in_)
        self.input_scale[in_] = scale


def image_transformer(
    net: "Net",
    mean: Any = None,
    input_scale: float | None = None,
    raw_scale: float | None = None,
    channel_swap: Sequence[int] | None = None,
) -> Transformer:
    """Return the Transformer of images, H x W x C, for the first input of a net.

    Raises
    ------
    NetError
        The net has no inputs.
    ShapeError
        The first is not N x C x H x W, or a setting does not fit it.
    """
    if not net.inputs:
        raise NetError(f"net {quoted(net.name)} has no inputs: images are given to one that begins with Input layers")
    in_ = net.inputs[0]
    shape = net.blobs[in_].data.shape
    if len(shape) != 4:
        raise ShapeError(f"input {quoted(in_)} takes images if it is N x C x H x W, and it is {text_of(shape)}")
    transformer = Transformer({in_: shape})
    transformer.set_transpose(in_, (2, 0, 1))
    if mean is not None:
        transformer.set_mean(in_, mean)
    if input_scale is not None:
        transformer.set_input_scale(in_, input_scale)
    if raw_scale is not None:
        transformer.set_raw_scale(in_, raw_scale)
    if channel_swap is not None:
        transformer.set_channel_swap(in_, channel_swap)
    return transformer
