"""Coordinates through the layers of a net, held against what the layers themselves do with an image."""

import numpy as np
import pytest

import caffelite

caffe = caffelite.as_caffe()

from caffe import layers as L  # noqa: E402, N812
from caffe import params as P  # noqa: E402, N812
from caffe.coord_map import (  # noqa: E402
    AxisMismatchException,
    UndefinedMapException,
    compose,
    conv_params,
    coord_map,
    coord_map_from_to,
    crop,
    inverse,
)


def deconvolution(top, **settings):
    return L.Deconvolution(top, convolution_param=dict(num_output=1, **settings))


def test_windows_by_hand() -> None:
    image = L.Input(shape=dict(dim=[1, 1, 20, 20]))
    axis, scale, shift = coord_map(L.Convolution(image, kernel_size=5, stride=2, pad=1, dilation=2).fn)
    assert (axis, scale, shift) == (1, 0.5, (1 - 4) / 2)  # the filter is 9 wide
    assert coord_map(deconvolution(image, kernel_size=4, stride=[2, 3], pad=1).fn)[1].tolist() == [2, 3]
    assert coord_map(L.ReLU(image).fn) == (None, 1, 0)
    assert coord_map(L.Crop(image, image, axis=3, offset=4).fn)[::2] == (2, -4)
    pooled = L.Pooling(image, pooling_param=dict(pool=P.Pooling.MAX, kernel_size=3, stride=3))
    assert conv_params(pooled.fn)[1:] == (3, 3, 0)


def test_maps_are_composed_and_turned_around() -> None:
    there = (1, np.array([0.5]), np.array([-1.5]))
    axis, scale, shift = compose(there, inverse(there))
    assert (axis, scale, shift) == (1, 1, 0)
    assert compose((None, 1, 0), there)[0] == 1
    with pytest.raises(AxisMismatchException, match="axis 1, the other of axis 2"):
        compose(there, (2, 1, 0))


def up_and_down(pad=0, kernel=3, stride=1, pool=2, up=2, up_pad=0):
    """Return an image, and what a convolution, a pooling and a deconvolution make of it."""
    image = L.Input(shape=dict(dim=[2, 1, 100, 100]))
    conv = L.Convolution(image, num_output=10, kernel_size=kernel, stride=stride, pad=pad)
    pooled = L.Pooling(conv, pool=P.Pooling.MAX, kernel_size=pool, stride=pool)
    return image, L.Deconvolution(pooled, num_output=10, kernel_size=2 * up, stride=up, pad=up_pad)


@pytest.mark.parametrize(
    ("settings", "shift"),
    [
        (dict(), 0),
        (dict(pool=4, up=4), -1),
        (dict(pad=7), -7),  # a margin moves what is inside to the right
        (dict(up_pad=7), 7),
        (dict(pad=7, up_pad=7), 0),
    ],
)
def test_down_and_up_again(settings, shift) -> None:
    image, top = up_and_down(**settings)
    assert coord_map_from_to(top, image) == (1, 1, shift)
    # Layers that leave coordinates as they are, and a convolution by one pixel.
    same = L.Convolution(L.ReLU(top), num_output=3, kernel_size=1)
    assert coord_map_from_to(same, image) == (1, 1, shift)


def test_each_axis_for_itself() -> None:
    image, top = up_and_down(kernel=[3, 5], stride=[1, 2], pad=[0, 10])
    _, scales, shifts = coord_map_from_to(top, image)
    for i, (kernel, stride, pad) in enumerate([(3, 1, 0), (5, 2, 10)]):
        image, top = up_and_down(kernel=kernel, stride=stride, pad=pad)
        assert coord_map_from_to(top, image) == (1, scales[i], shifts[i])
    image, top = up_and_down(kernel=[3, 3, 3], stride=[1, 1, 1], pad=[0, 1, 2])
    axis, scales, shifts = coord_map_from_to(top, image)
    assert (axis, scales.tolist(), shifts.tolist()) == (1, [1, 1, 1], [0, -1, -2])


def test_each_bottom_and_top_of_a_layer() -> None:
    images = [L.Input(shape=dict(dim=[1, 1, size, size])) for size in (20, 30)]
    tops = L.Convolution(*images, ntop=2, num_output=10, kernel_size=5, stride=2)
    assert coord_map_from_to(tops[0], images[0]) == coord_map_from_to(tops[1], images[1]) == (1, 2, 2)


def test_a_crop_takes_the_pixels_that_belong_together(tmp_path) -> None:
    # One bright pixel goes through a pooling and back up: it must be found at its place.
    n = caffe.NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 1, 12, 12]))
    n.conv = L.Convolution(n.data, num_output=1, kernel_size=3, pad=4, weight_filler=dict(type="constant", value=1))
    n.pool = L.Pooling(n.conv, pool=P.Pooling.MAX, kernel_size=2, stride=2)
    n.up = deconvolution(n.pool, kernel_size=4, stride=2, weight_filler=dict(type="constant", value=1))
    n.score = crop(n.up, n.data)
    assert list(n.to_proto().layer[-1].crop_param.offset) == [4] and n.score.fn.params["crop_param"]["axis"] == 2
    (tmp_path / "net.prototxt").write_text(str(n.to_proto()))
    net = caffe.Net(str(tmp_path / "net.prototxt"), caffe.TEST)
    image = np.zeros((1, 1, 12, 12), np.float32)
    image[0, 0, 7, 4] = 1
    score = net.forward(data=image)["score"][0, 0]
    assert score.shape == (12, 12)
    rows, columns = np.nonzero(score)
    assert abs(rows.mean() - 7) <= 1 and abs(columns.mean() - 4) <= 1


def test_the_second_bottom_of_a_crop_says_nothing_of_coordinates() -> None:
    image, other = (L.Input(shape=dict(dim=[1, 1, 9, 9])) for _ in range(2))
    cut = L.Crop(image, other, offset=2)
    assert coord_map_from_to(cut, image) == (1, 1, 2)
    with pytest.raises(RuntimeError, match="no map between the two tops"):
        coord_map_from_to(cut, other)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (dict(kernel_size=6, stride=3), "scale mismatch"),
        (dict(kernel_size=4, stride=2, pad=9), "negative offset"),
        (dict(kernel_size=3, stride=2), "no whole number"),
    ],
)
def test_what_cannot_be_cropped(settings, expected) -> None:
    image = L.Input(shape=dict(dim=[1, 1, 20, 20]))
    pool = L.Pooling(image, kernel_size=2, stride=2)
    with pytest.raises(AssertionError, match=expected):
        crop(deconvolution(pool, **settings), image)


def test_layers_without_coordinates() -> None:
    image = L.Input(shape=dict(dim=[1, 1, 20, 20]))
    with pytest.raises(UndefinedMapException, match="do not go through InnerProduct"):
        coord_map(L.InnerProduct(image, num_output=3).fn)
    with pytest.raises(UndefinedMapException, match="Pooling has no kernel_size"):
        coord_map(L.Pooling(image, global_pooling=True).fn)
    with pytest.raises(AssertionError, match="Convolution with kernel_h cannot be mapped"):
        coord_map(L.Convolution(image, kernel_h=3, kernel_w=3).fn)
    same = crop(L.ReLU(image), image).fn.params["crop_param"]
    assert same == {"axis": 2, "offset": [0]}
