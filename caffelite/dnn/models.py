"""OpenCV's nets with their preparation of images: classification, detection, segmentation, key points."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from caffelite.dnn.blobs import Image2BlobParams, Scalar, blobFromImageWithParams, scalar
from caffelite.dnn.constants import DNN_PMODE_CROP_CENTER, DNN_PMODE_NULL
from caffelite.dnn.net import Net
from caffelite.dnn.reading import readNet
from caffelite.errors import NetError, ShapeError
from caffelite.words import quoted, text_of


class Model:
    """A net, and how an image becomes its input; ``Model(net)``, or ``Model(weights, prototxt)``.

    The methods ``set…`` return the model, so that calls can be put in a row. Without ``setInputSize`` the input has the
    size that the prototxt gives it.
    """

    def __init__(self, model: Any, config: Any = "") -> None:
        self._net = model if isinstance(model, Net) else readNet(model, config)
        shape = self._net.input_shape()
        self._size = (shape[3], shape[2]) if len(shape) == 4 else (0, 0)
        self._scale: np.ndarray = np.ones(4)
        self._mean: Scalar = (0.0, 0.0, 0.0, 0.0)
        self._swap, self._crop = False, False
        self._outputs: Sequence[str] = self._net.getUnconnectedOutLayersNames()

    def setInputSize(self, size: Any, height: int | None = None) -> Self:
        """Set the width and height of the input: a pair, or two numbers."""
        self._size = (int(size), int(height)) if height is not None else (int(size[0]), int(size[1]))
        return self

    def setInputMean(self, mean: Scalar) -> Self:
        """Set what is subtracted from each channel, in the order of the net's."""
        self._mean = mean
        return self

    def setInputScale(self, scale: Scalar) -> Self:
        """Set what each channel is multiplied by; one number is for all."""
        self._scale = np.full(4, scale, np.float64) if np.ndim(scale) == 0 else scalar(scale, "scale")
        return self

    def setInputCrop(self, crop: bool) -> Self:
        """Set whether images are cut rather than stretched."""
        self._crop = crop
        return self

    def setInputSwapRB(self, swapRB: bool) -> Self:
        """Set whether first and third channel change places."""
        self._swap = swapRB
        return self

    def setInputParams(
        self,
        scale: float = 1.0,
        size: tuple[int, int] = (0, 0),
        mean: Scalar = (),
        swapRB: bool = False,
        crop: bool = False,
    ) -> None:
        """Set all of them; what is left out gets its default."""
        self.setInputScale(scale).setInputSize(size).setInputMean(mean).setInputSwapRB(swapRB).setInputCrop(crop)

    def setOutputNames(self, outNames: Sequence[str]) -> Self:
        """Set the layers whose output :meth:`predict` returns; by default those that no other reads."""
        self._outputs = list(outNames)
        return self

    def setPreferableBackend(self, backendId: int) -> Self:
        """See :meth:`Net.setPreferableBackend`."""
        self._net.setPreferableBackend(backendId)
        return self

    def setPreferableTarget(self, targetId: int) -> Self:
        """See :meth:`Net.setPreferableTarget`."""
        self._net.setPreferableTarget(targetId)
        return self

    def enableWinograd(self, useWinograd: bool) -> Self:
        """See :meth:`Net.enableWinograd`."""
        self._net.enableWinograd(useWinograd)
        return self

    def predict(self, frame: np.ndarray, outs: Any = None) -> tuple[np.ndarray, ...]:
        """Return the outputs of the net for an image; ``outs`` is not used.

        Raises
        ------
        DataError, ShapeError
        """
        if 0 in self._size:
            raise ShapeError("the size of the input is not known: setInputSize((width, height)) says it")
        mode = DNN_PMODE_CROP_CENTER if self._crop else DNN_PMODE_NULL
        params = Image2BlobParams(tuple(self._scale), self._size, self._mean, self._swap, paddingmode=mode)
        self._net.setInput(blobFromImageWithParams(frame, params))
        if self._net.getLayer(0).outputNameToIndex("im_info") != -1:  # Faster R-CNN, R-FCN
            width, height = self._size
            self._net.setInput(np.array([[height, width, 1.6]], np.float32), "im_info")
        outputs = self._net.forward(list(self._outputs))
        assert isinstance(outputs, tuple)
        return outputs

    def _only_output(self, frame: np.ndarray) -> np.ndarray:
        outputs = self.predict(frame)
        if len(outputs) != 1:
            raise NetError(
                f"one output is needed, not {', '.join(map(quoted, self._outputs))}; setOutputNames says which"
            )
        return outputs[0]


class ClassificationModel(Model):
    """A net whose output is a score for each class."""

    def __init__(self, model: Any, config: Any = "") -> None:
        super().__init__(model, config)
        self._softmax = False

    def setEnableSoftmaxPostProcessing(self, enable: bool) -> Self:
        """Set whether :meth:`classify` returns the softmax of the scores."""
        self._softmax = enable
        return self

    def getEnableSoftmaxPostProcessing(self) -> bool:
        """Whether :meth:`classify` returns the softmax of the scores."""
        return self._softmax

    def classify(self, frame: np.ndarray) -> tuple[int, float]:
        """Return the class with the largest score, and the score."""
        scores = self._only_output(frame).reshape(-1)
        if self._softmax:
            powers = np.exp(scores - scores.max())
            scores = powers / powers.sum()
        best = int(scores.argmax())
        return best, float(scores[best])


class SegmentationModel(Model):
    """A net whose output is a score for each class at each pixel."""

    def segment(self, frame: np.ndarray, mask: Any = None) -> np.ndarray:
        """Return the class with the largest score at each pixel of the output, uint8; ``mask`` is not used."""
        scores = self._only_output(frame)
        if scores.ndim != 4:
            raise ShapeError(f"the output is {text_of(scores.shape)}, no map of classes")
        return scores[0].argmax(axis=0).astype(np.uint8)


class KeypointsModel(Model):
    """A net whose output is a map for each key point and one for the background, or the points themselves."""

    def estimate(self, frame: np.ndarray, thresh: float = 0.5) -> np.ndarray:
        """Return x and y of each key point in the image, [n][2] of float32; -1, -1 for one that is not there."""
        output = self._only_output(frame)
        if output.ndim != 4:
            return output[0].reshape(-1, output.shape[-1])[:, :2].astype(np.float32)
        height, width = output.shape[2:]
        points = np.full((output.shape[1] - 1, 2), -1, np.float32)
        for point, values in zip(points, output[0], strict=False):
            y, x = divmod(int(values.argmax()), width)
            if values[y, x] > thresh:
                # One rounding after the other, as OpenCV's point has it.
                point[0] = np.float32(x) * (np.float32(frame.shape[1]) / np.float32(width))
                point[1] = np.float32(y) * (np.float32(frame.shape[0]) / np.float32(height))
        return points


class DetectionModel(Model):
    """A net whose last layer is SSD's DetectionOutput."""

    def __init__(self, model: Any, config: Any = "") -> None:
        super().__init__(model, config)
        self._across = False

    def setNmsAcrossClasses(self, value: bool) -> Self:
        """Take note of a choice that DetectionOutput has made itself: boxes of a class leave each other out."""
        self._across = value
        return self

    def getNmsAcrossClasses(self) -> bool:
        """Return what :meth:`setNmsAcrossClasses` was given."""
        return self._across

    def detect(self, frame: np.ndarray, confThreshold: float = 0.5, nmsThreshold: float = 0.0) -> tuple[Any, Any, Any]:
        """Return classes, confidences and boxes of what is in an image.

        Parameters
        ----------
        frame : ndarray
        confThreshold : float, optional
            Detections below it are left out.
        nmsThreshold : float, optional
            Not used: DetectionOutput has left out what overlaps.

        Returns
        -------
        classIds : ndarray of int32
        confidences : ndarray of float32
        boxes : ndarray of int32, [n][4]
            x, y, width and height in the image. All are ``()`` where there is nothing.

        Raises
        ------
        NetError
            The last layer is another one.
        """
        last = self._net.getLayer(self._net.getLayerNames()[-1])
        if last.type != "DetectionOutput":
            raise NetError(f"the last layer, {quoted(last.name)}, is of type {last.type}, not DetectionOutput")
        height, width = frame.shape[:2]
        if self._net.getLayer(0).outputNameToIndex("im_info") != -1:
            width, height = self._size
        rows = np.concatenate([output.reshape(-1, 7) for output in self.predict(frame)])
        rows = rows[rows[:, 2] >= np.float32(confThreshold)]
        if not len(rows):
            return (), (), ()
        boxes = np.stack([_box(row[3:], width, height) for row in rows])
        return rows[:, 1].astype(np.int32), rows[:, 2].copy(), boxes


def _box(corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return x, y, width and height of a box in whole pixels; corners of less than 2 pixels are parts of the image."""
    left, top, right, bottom = corners.astype(int)
    if right - left + 1 <= 2 or bottom - top + 1 <= 2:
        left, top, right, bottom = (corners * np.array([width, height] * 2, np.float32)).astype(int)
    x, y = max(0, min(left, width - 1)), max(0, min(top, height - 1))
    across, down = right - left + 1, bottom - top + 1
    return np.array([x, y, max(1, min(across, width - x)), max(1, min(down, height - y))], np.int32)


__all__ = ["ClassificationModel", "DetectionModel", "KeypointsModel", "Model", "SegmentationModel"]
