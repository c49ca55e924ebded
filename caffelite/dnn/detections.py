"""SSD's detections in the form that OpenCV gives them."""

import numpy as np

from caffelite.net.graph import Version


def is_detections(version: Version) -> bool:
    """Whether a blob is what a layer DetectionOutput makes."""
    return version.producer.layer.param.type == "DetectionOutput"


def sorted_and_filled(rows: np.ndarray, version: Version) -> np.ndarray:
    """Return detections of each image by falling scores, and rows of zeros up to the most that there may be.

    Caffe has them class by class and as many rows as detections, or rows of -1 for images without any.

    Parameters
    ----------
    rows : ndarray of float32, 1 x 1 x n x 7
        Image, class, score, corners.
    version : Version
        The blob that they are from, in a graph whose shapes are known.

    Returns
    -------
    ndarray of float32, 1 x 1 x images · keep_top_k x 7
        1 x 1 x n x 7 where ``keep_top_k`` sets no limit.
    """
    producer = version.producer
    most = producer.bottoms[0].shape[0] * producer.layer.param.detection_output_param.keep_top_k
    flat = rows.reshape(-1, 7)
    flat = flat[flat[:, 1] >= 0]
    flat = flat[np.lexsort((-flat[:, 2], flat[:, 0]))]
    filled = np.zeros((1, 1, max(most, len(flat)), 7), np.float32)
    filled[0, 0, : len(flat)] = flat
    return filled
