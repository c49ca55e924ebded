"""Statistics as files have them in every layout, and as the layers of all dialects measure them."""

import numpy as np
import pytest

from caffelite.batchnorm.statistics import brings_data, growing_statistics, measured_statistics, normalizing
from caffelite.layers.shared.normalizing import layout_of
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TRAIN

MEAN, VARIANCE = np.array([1.0, -2.0, 4.0]), np.array([0.5, 1.0, 2.0])
OTHER = np.array([9.0, 8.0, 7.0])
DATA = 'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 5 dim: 6 } } }\n'


@pytest.mark.parametrize(
    ("name", "blobs", "factor"),
    [
        ("Caffe", [2 * MEAN, 2 * VARIANCE, np.full(1, 2.0)], 2.0),
        ("NVCaffe", [2 * MEAN, 2 * VARIANCE, np.full(1, 2.0), OTHER, OTHER], 2.0),
        ("NVCaffe before 0.16", [OTHER, OTHER, MEAN, VARIANCE, np.ones(1)], None),
        ("PSPNet", [blob.reshape(1, 3, 1, 1) for blob in (OTHER, OTHER, MEAN, VARIANCE)], None),
    ],
)
def test_layouts_of_files(name: str, blobs: list[np.ndarray], factor: float | None) -> None:
    layout = layout_of(blobs)
    assert layout is not None and layout.name == name
    stored = layout.statistics(blobs)
    assert stored is not None and (stored.layout, stored.factor) == (name, factor)
    np.testing.assert_array_equal([stored.mean, stored.variance], [MEAN, VARIANCE])


def test_layouts_without_statistics() -> None:
    segnet = layout_of([OTHER, OTHER])
    assert segnet is not None and segnet.name == "SegNet" and segnet.statistics([OTHER, OTHER]) is None
    caffe = [MEAN, VARIANCE, np.ones(3)]
    assert layout_of(caffe).statistics(caffe) is None  # type: ignore[union-attr]
    assert layout_of([MEAN]) is None


def test_every_dialect_measures_by_its_own_average() -> None:
    text = DATA + "".join(
        f'layer {{ name: "{name}" bottom: "x" top: "{name}" type: {settings} }}\n'
        for name, settings in (
            ("caffe", '"BatchNorm"'),
            ("pspnet", '"BN" bn_param { momentum: 0.5 }'),
            ("ducha", '"BN" bn_param { decay: 0.25 }'),
            ("segnet", '"BN" bn_param { bn_mode: LEARN }'),
            ("simple", '"BatchNorm" batch_norm_param { moving_average: SIMPLE }'),
        )
    )
    net = Net(net_from_text(text, "net.prototxt"), TRAIN, global_stats=False, learn=False)
    batches = np.random.default_rng(1).standard_normal((3, 4, 3, 5, 6)).astype(np.float32) + 2

    def feed():
        for i, batch in enumerate(batches):
            net.blobs["x"].data[...] = batch
            yield i

    measured = measured_statistics(net, normalizing(net.graph), feed(), "exponential")
    assert set(measured) == {"caffe", "pspnet", "ducha", "simple"}  # SegNet's layer sums nothing up
    for name, keep, ddof in (("caffe", 0.999, 1), ("pspnet", 0.5, 0), ("ducha", 0.75, 0), ("simple", 1, 1)):
        weights = [keep**2, keep, 1]
        for ours, values in (
            (measured[name].mean, batches.mean((1, 3, 4), dtype=np.float64)),
            (measured[name].variance, batches.var((1, 3, 4), ddof=ddof, dtype=np.float64)),
        ):
            np.testing.assert_allclose(ours, np.average(values, axis=0, weights=weights), rtol=1e-5)
    assert not brings_data(net.graph)


def test_growing_statistics_are_those_of_all_batches_so_far() -> None:
    text = (
        'layer { name: "d" type: "DummyData" top: "x" dummy_data_param { shape { dim: 4 dim: 3 dim: 5 dim: 6 } '
        'data_filler { type: "gaussian" std: 2 } } }\nlayer { name: "bn" bottom: "x" top: "y" type: "BatchNorm" }\n'
    )

    def net() -> Net:
        return Net(net_from_text(text, "net.prototxt"), TRAIN, global_stats=False, learn=False, seed=1)

    grown = net()
    found = list(growing_statistics(grown, normalizing(grown.graph), (1, 3)))
    for count, statistics in zip((1, 3), found, strict=True):
        whole = net()
        measured = measured_statistics(whole, normalizing(whole.graph), range(count), "exact")["bn"]
        np.testing.assert_allclose(statistics["bn"].mean, measured.mean)
        np.testing.assert_allclose(statistics["bn"].variance, measured.variance)
    assert not np.allclose(found[0]["bn"].mean, found[1]["bn"].mean)
