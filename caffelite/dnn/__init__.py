"""OpenCV's names for Caffe's nets: what ``cv2.dnn`` was, before OpenCV 5 dropped its Caffe reader.

``from caffelite import dnn`` in place of ``cv2.dnn``; names, order of arguments and results are OpenCV's.
"""

from functools import partial
from typing import Any

from caffelite.dnn import constants
from caffelite.dnn.blobs import (
    Image2BlobParams,
    blobFromImage,
    blobFromImages,
    blobFromImagesWithParams,
    blobFromImageWithParams,
    imagesFromBlob,
)
from caffelite.dnn.boxes import NMSBoxes, NMSBoxesBatched, softNMSBoxes
from caffelite.dnn.constants import *  # noqa: F403 - 35 numbers
from caffelite.dnn.layer import Layer
from caffelite.dnn.models import ClassificationModel, DetectionModel, KeypointsModel, Model, SegmentationModel
from caffelite.dnn.net import Net
from caffelite.dnn.reading import readNet, readNetFromCaffe
from caffelite.words import close_names, did_you_mean

__all__ = [
    "ClassificationModel",
    "DetectionModel",
    "Image2BlobParams",
    "KeypointsModel",
    "Layer",
    "Model",
    "NMSBoxes",
    "NMSBoxesBatched",
    "Net",
    "SegmentationModel",
    "blobFromImage",
    "blobFromImageWithParams",
    "blobFromImages",
    "blobFromImagesWithParams",
    "imagesFromBlob",
    "readNet",
    "readNetFromCaffe",
    "softNMSBoxes",
    *constants.__all__,
]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    hint = did_you_mean(
        name, __all__, "OpenCV's own cv2.dnn has what is not for Caffe's nets", find=partial(close_names, cutoff=0.85)
    )
    raise AttributeError(f"caffelite.dnn has no {name}{hint}")
