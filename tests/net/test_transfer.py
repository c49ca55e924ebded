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
    assert done.matches == [("a", "taken", "5×48, 5", "5×48, 5")] and done.untrained == ["b", "c"]
    lines = done.table().splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["a", "z", "b", "c"]
    assert {line.rindex("5×48") for line in (lines[0], *lines[2:])} == {lines[0].rindex("5×48")}


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


GOOD = [np.ones((5, 48), np.float32), np.ones(5, np.float32)]
OTHER = [np.ones((4, 48), np.float32), np.ones(4, np.float32)]


def three() -> Net:
    return Net(net_from_text(THREE, "net.prototxt"))


def test_nothing_is_told_where_all_match() -> None:
    assert three().copy_from([LayerWeights(name, "", GOOD) for name in "abc"]).table() == ""


def test_layers_of_other_names() -> None:
    net = three()
    layers = [LayerWeights("a", "", GOOD), LayerWeights("b", "", OTHER), LayerWeights("z", "", [2 * g for g in GOOD])]
    done = net.copy_from(layers, layer_map={"z": "b"})
    # What the file has as b itself is left out.
    assert done.taken == ["a", "b"] and done.untrained == ["c"]
    assert done.matches[1][:2] == ("b", "taken from z")
    assert done.rows == [("b", "in the file only", "4×48, 4", ""), ("c", "in the net only", "", "5×48, 5")]
    assert (net.params["b"][0].data == 2).all() and not net.params["c"][0].data.any()
    assert len(done.table().splitlines()) == 5


def test_names_may_be_exchanged() -> None:
    net = three()
    layers = [LayerWeights("a", "", GOOD), LayerWeights("b", "", [3 * g for g in GOOD])]
    assert net.copy_from(layers, layer_map={"a": "b", "b": "a"}).taken == ["b", "a"]
    assert (net.params["a"][0].data == 3).all() and (net.params["b"][0].data == 1).all()


def test_a_layer_that_goes_elsewhere_leaves_its_own_untrained() -> None:
    done = three().copy_from([LayerWeights("a", "", GOOD)], layer_map={"a": "b"})
    assert (done.taken, done.untrained) == (["b"], ["a", "c"])


@pytest.mark.parametrize(
    ("layer_map", "message"),
    [
        (
            {"convv": "a"},
            r'weights: it has no weights of a layer "convv", which is to go to "a"; did you mean "conv"\?',
        ),
        (
            {"conv": "aa"},
            r'"conv" is to go to "aa", but no layer with weights of the net "" has this name; did you mean "a"',
        ),
        ({"conv": "in"}, r'"conv" is to go to "in", but no layer with weights'),
        ({"conv": "a", "b": "a"}, 'two layers of weights are to go to "a"'),
    ],
)
def test_maps_that_do_not_fit(layer_map: dict[str, str], message: str) -> None:
    net = three()
    with pytest.raises(WeightsError, match=message):
        net.copy_from([LayerWeights("conv", "", GOOD), LayerWeights("b", "", GOOD)], layer_map=layer_map)
    assert not net.data.any()


def test_layers_that_do_not_match_are_left_as_they_are_where_that_is_asked_for() -> None:
    net = three()
    layers = [LayerWeights("a", "", OTHER), LayerWeights("b", "", GOOD), LayerWeights("c", "", GOOD[:1])]
    with pytest.raises(ShapeError, match="or give --skip-mismatch"):
        net.copy_from(layers[:1])
    done = net.copy_from(layers, skip_mismatch=True)
    assert (done.taken, done.untrained) == (["b"], ["a", "c"])
    assert [row[:2] for row in done.rows] == [
        ("a", "shape differs, left as it is"),
        ("c", "number of blobs differs, left as it is"),
    ]
    assert net.params["b"][0].data.all() and not net.params["a"][0].data.any() and not net.params["c"][0].data.any()


def test_weights_of_which_nothing_fits() -> None:
    with pytest.raises(WeightsError, match=r'(?s)none of its 1 layers with weights fits the net ""\nlayer.*a +shape'):
        three().copy_from([LayerWeights("a", "", OTHER)], skip_mismatch=True)
