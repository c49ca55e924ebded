"""Weights of other dialects, and the table of what does not match."""

import numpy as np
import pytest

from caffelite.errors import Error, ShapeError, WeightsError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.schema.weights import LayerWeights
from caffelite.words import TEST

INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }\n'
NORM = 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { SETTINGS } }\n'
MEAN, VARIANCE = np.float32([0.5, -1, 2]), np.float32([4, 1, 9])
SCALE, BIAS = np.float32([2, 3, -1]), np.float32([0.25, 0, 1])


def norm(settings: str = "") -> Net:
    return Net(net_from_text(INPUT + NORM.replace("SETTINGS", settings), "net.prototxt"), TEST)


def result(net: Net) -> np.ndarray:
    x = net.blobs["x"].data
    x[...] = np.random.default_rng(2).standard_normal(x.shape)
    net.forward()
    return net.blobs["y"].data


def channels(values: np.ndarray) -> np.ndarray:
    return values.reshape(1, 3, 1, 1)


@pytest.mark.parametrize("shape", [(3,), (1, 3, 1, 1), (1, 1, 1, 3)])
@pytest.mark.parametrize(
    "blobs",
    [
        [MEAN, VARIANCE, np.ones(1), SCALE, BIAS],  # from 0.16 on
        [SCALE, BIAS, MEAN, VARIANCE, np.zeros(1)],  # before
    ],
)
def test_batch_norm_of_nvcaffe(blobs: list[np.ndarray], shape: tuple[int, ...]) -> None:
    net = norm("scale_bias: true eps: 0")
    stored = [np.float32(b).reshape(shape if b.size == 3 else (1,)) for b in blobs]
    assert net.copy_from([LayerWeights("bn", "BatchNorm", stored)]).taken == ["bn"]
    y = result(net)
    x = net.blobs["x"].data
    expected = (x - channels(MEAN)) / channels(np.sqrt(VARIANCE)) * channels(SCALE) + channels(BIAS)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ((), (0, 0, 0, 1, 1)),
        ((0, 0, 0, 2, 3), (0, 0, 0, 2, 3)),  # from 0.16 on
        ((2, 3, 0, 0), (0, 0, 0, 2, 3)),  # before
        ((2, 3, 0, 0, 0), (0, 0, 0, 2, 3)),
        ((2,), (0, 0, 0, 2, 1)),
        ((0, 3), (0, 0, 0, 0, 3)),
    ],
)
def test_rates_of_a_batch_norm_of_nvcaffe(rates: tuple[int, ...], expected: tuple[int, ...]) -> None:
    given = "bias_filler { }" + "".join(f" }} param {{ lr_mult: {rate}" for rate in rates)
    assert [own.lr_mult for own in norm(given).learnable] == list(expected)


@pytest.mark.parametrize("rates", [(1, 1, 1), (0, 0, 1), (1, 1, 0, 1)])
def test_rates_of_statistics_are_refused(rates: tuple[int, ...]) -> None:
    for settings in ("scale_bias: true", ""):
        with pytest.raises(Error, match="lr_mult must be 0, not 1"):
            norm(settings + "".join(f" }} param {{ lr_mult: {rate}" for rate in rates))


def test_a_scale_that_would_be_lost_is_an_error() -> None:
    five = [MEAN, VARIANCE, np.float32([1]), SCALE, BIAS]
    with pytest.raises(WeightsError, match=r'layer "bn" has a learned scale and bias.*scale_bias: true'):
        norm().copy_from([LayerWeights("bn", "BatchNorm", five)])
    five[3:] = [np.float32([1, 1, 1]), np.float32([0, 0, 0])]
    net = norm("eps: 0")
    net.copy_from([LayerWeights("bn", "BatchNorm", five)])
    y = result(net)
    x = net.blobs["x"].data
    np.testing.assert_allclose(y, (x - channels(MEAN)) / channels(np.sqrt(VARIANCE)), rtol=1e-4, atol=1e-5)


THREE = INPUT + "".join(
    f'layer {{ name: "{name}" type: "InnerProduct" bottom: "x" top: "{name}" inner_product_param {{ num_output: 5 }} }}\n'
    for name in ("a", "b", "c")
)


def test_the_table_of_what_does_not_match() -> None:
    net = Net(net_from_text(THREE, "net.prototxt"))
    good = [np.ones((5, 48), np.float32), np.ones(5, np.float32)]
    done = net.copy_from([LayerWeights("a", "", good), LayerWeights("z", "", [np.ones((2, 3), np.float32)])])
    assert done.taken == ["a"]
    assert done.rows == [
        ("z", "in the file only", "2×3", ""),
        ("b", "in the net only", "", "5×48, 5"),
        ("c", "in the net only", "", "5×48, 5"),
    ]
    assert done.table().splitlines()[0].split() == ["layer", "in", "the", "file", "in", "the", "net"]
    assert len({len(line.split("in the net only")[0]) for line in done.table().splitlines()[2:]}) == 1


def test_all_shapes_that_differ_are_told_at_once_and_nothing_is_set() -> None:
    net = Net(net_from_text(THREE, "net.prototxt"))
    before = net.data.copy()
    wrong = [np.ones((4, 48), np.float32), np.ones(4, np.float32)]
    layers = [LayerWeights("a", "", wrong), LayerWeights("b", "", wrong[:1]), LayerWeights("c", "", wrong)]
    with pytest.raises(ShapeError) as error:
        net.copy_from(layers)
    lines = str(error.value).splitlines()
    assert 'layer "a": blob 0 has shape 4×48, the net has 5×48' in lines[0]
    assert lines[2].split() == ["a", "shape", "differs", "4×48,", "4", "5×48,", "5"]
    assert lines[3].split() == ["b", "number", "of", "blobs", "differs", "4×48", "5×48,", "5"]
    assert len(lines) == 5
    np.testing.assert_array_equal(net.data, before)
