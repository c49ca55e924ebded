"""Images as blobs: the numbers that OpenCV has, to the bit."""

import numpy as np
import pytest
from opencv_cases import BLOBS, PARAMS, image

from caffelite import dnn
from caffelite.errors import DataError


@pytest.mark.parametrize("name", BLOBS)
def test_a_blob_is_opencvs(name, opencv):
    picture, arguments = BLOBS[name]
    before = picture.copy()
    blob = dnn.blobFromImage(picture, **arguments)
    np.testing.assert_array_equal(blob, opencv[f"blob {name}"], strict=True)
    np.testing.assert_array_equal(picture, before)


@pytest.mark.parametrize("name", PARAMS)
def test_a_blob_by_params_is_opencvs(name, opencv):
    blob = dnn.blobFromImageWithParams(image(31, 23, 3), dnn.Image2BlobParams(*PARAMS[name]))
    np.testing.assert_array_equal(blob, opencv[f"params {name}"], strict=True)


def test_arguments_stand_where_opencv_has_them():
    picture = image(9, 7, 3)
    by_name = dnn.blobFromImage(
        picture, scalefactor=0.5, size=(4, 3), mean=(1, 2, 3), swapRB=True, crop=False, ddepth=5
    )
    np.testing.assert_array_equal(dnn.blobFromImage(picture, 0.5, (4, 3), (1, 2, 3), True, False, 5), by_name)


def test_images_have_the_size_of_the_first():
    blob = dnn.blobFromImages([image(6, 5, 3), image(12, 10, 3)])
    assert blob.shape == (2, 3, 6, 5)
    np.testing.assert_array_equal(blob[1:], dnn.blobFromImage(image(12, 10, 3), size=(5, 6)))
    np.testing.assert_array_equal(dnn.blobFromImagesWithParams([image(6, 5, 3), image(12, 10, 3)]), blob)


def test_images_come_back():
    blob = dnn.blobFromImages([image(6, 5, 3), image(6, 5, 3)[::-1]])
    first, second = dnn.imagesFromBlob(blob)
    np.testing.assert_array_equal(first, image(6, 5, 3))
    np.testing.assert_array_equal(second, image(6, 5, 3)[::-1])
    assert dnn.imagesFromBlob(blob[:, :1])[0].shape == (6, 5)


@pytest.mark.parametrize(
    ("picture", "arguments", "said"),
    [
        (None, {}, "image 0 is no array of pixels: was there a file to read it from?"),
        (image(4, 4, 2), {}, "image 0 is 4×4×2, expected H×W, or H×W with 1, 3 or 4 channels"),
        (image(4, 4, 3), {"ddepth": 6}, r"ddepth is 6, expected CV_32F \(5\) or CV_8U \(0\)"),
        (image(4, 4, 3), {"ddepth": 0, "mean": 1}, "a blob of CV_8U takes no scalefactor and no mean"),
        (image(4, 4, 3), {"mean": (1, 2, 3, 4, 5)}, "mean has 5 numbers, expected at most 4: one a channel"),
    ],
)
def test_what_is_no_image_is_an_error(picture, arguments, said):
    with pytest.raises(DataError, match=said):
        dnn.blobFromImage(picture, **arguments)


def test_images_of_other_channels_and_other_params_are_errors():
    with pytest.raises(DataError, match="image 1 has 1 channels, image 0 has 3"):
        dnn.blobFromImages([image(4, 4, 3), image(4, 4)])
    with pytest.raises(DataError, match="there is no image"):
        dnn.blobFromImages([])
    with pytest.raises(DataError, match="datalayout is 6"):
        dnn.blobFromImageWithParams(image(4, 4), dnn.Image2BlobParams(datalayout=dnn.DNN_LAYOUT_PLANAR))
    with pytest.raises(DataError, match="paddingmode is 3"):
        dnn.blobFromImageWithParams(image(4, 4), dnn.Image2BlobParams(size=(2, 2), paddingmode=3))
    with pytest.raises(DataError, match="4 axes of float32, this one 3"):
        dnn.imagesFromBlob(np.zeros((1, 2, 3), np.float32))
