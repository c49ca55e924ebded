"""BN, in the dialects of three families of forks."""

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError, WeightsError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

RNG = np.random.default_rng(1)
X = (RNG.standard_normal((4, 3, 5, 6)) * [[[[2]], [[0.5]], [[1]]]] + [[[[3]], [[-1]], [[0]]]]).astype(np.float32)
SCALE, SHIFT, MEAN, VARIANCE = (
    np.array([2, -1, 0.5]),
    np.array([0.1, 0.2, 0.3]),
    np.array([1, 2, 3]),
    np.array([4, 5, 6]),
)


def normalised(mean: np.ndarray, variance: np.ndarray, eps: float) -> np.ndarray:
    def along(v: np.ndarray) -> np.ndarray:
        return v.reshape(1, 3, 1, 1)

    return (X - along(mean)) / np.sqrt(along(variance) + eps) * along(SCALE) + along(SHIFT)


def run(settings: str, phase: int, **options: object) -> tuple[Net, np.ndarray]:
    net = layer_net("BN", f"bn_param {{ {settings} }}", X.shape, phase=phase, **options)  # type: ignore[arg-type]
    for blob, values in zip(net.params["L"], (SCALE, SHIFT, MEAN, VARIANCE), strict=False):
        blob.data[...] = values.reshape(1, 3, 1, 1)
    return net, forward(net, X)


BATCH = X.mean((0, 2, 3)), X.var((0, 2, 3))
STORED = MEAN, VARIANCE


@pytest.mark.parametrize(
    ("settings", "phase", "statistics", "eps", "keep"),
    [
        ("", TRAIN, BATCH, 1e-5, 0.9),
        ("", TEST, STORED, 1e-5, None),
        ("momentum: 0.5 eps: 0.1", TRAIN, BATCH, 0.1, 0.5),
        ("frozen: true", TRAIN, STORED, 1e-5, None),
        ("var_eps: 1e-2 scale_filler { }", TRAIN, BATCH, 1e-2, 0.05),
        ("decay: 0.25", TRAIN, BATCH, 1e-10, 0.75),
        ("moving_average: true", TEST, STORED, 1e-10, None),
        ("var_eps: 1e-2", TEST, STORED, 1e-2, None),
        ("moving_average: false", TEST, BATCH, 1e-10, None),
        ("bn_mode: LEARN", TRAIN, BATCH, 1e-9, None),
        ("scale_filler { } shift_filler { }", TEST, BATCH, 1e-9, None),
    ],
)
def test_values(settings: str, phase: int, statistics: tuple, eps: float, keep: float | None) -> None:
    net, y = run(settings, phase)
    np.testing.assert_allclose(y, normalised(*statistics, eps), atol=2e-5)
    blobs = net.params["L"]
    assert len(blobs) == (2 if "scale_filler { } shift" in settings or "bn_mode" in settings else 4)
    assert all(blob.shape == (1, 3, 1, 1) for blob in blobs)
    for blob, old, new in zip(blobs[2:], STORED, BATCH, strict=False):
        expected = old if keep is None else keep * old + (1 - keep) * new
        np.testing.assert_allclose(blob.data.ravel(), expected, rtol=1e-5)


def test_inference_scales_and_shifts() -> None:
    for phase in (TRAIN, TEST):
        _, y = run("bn_mode: INFERENCE", phase)
        np.testing.assert_allclose(y, X * SCALE.reshape(1, 3, 1, 1) + SHIFT.reshape(1, 3, 1, 1), rtol=1e-5, atol=1e-6)


def test_segnet_gives_the_statistics() -> None:
    net, _ = run("bn_mode: LEARN", TRAIN, tops=3)
    for top, expected in zip(("y1", "y2"), BATCH, strict=True):
        assert net.blobs[top].shape == (1, 3, 1, 1)
        np.testing.assert_allclose(net.blobs[top].data.ravel(), expected, rtol=1e-4, atol=1e-6)


def test_in_place_it_computes_the_same() -> None:
    text = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 dim: 5 dim: 6 } } }
    layer { name: "copy" type: "Power" bottom: "x" top: "y" }
    layer { name: "L" type: "BN" bottom: "y" top: "y" bn_param { SETTINGS } }"""
    for phase in (TRAIN, TEST):
        for settings in ("", "bn_mode: LEARN", "bn_mode: INFERENCE"):
            expected, y = run(settings, phase)
            net = Net(net_from_text(text.replace("SETTINGS", settings), "net.prototxt"), phase, keep=True)
            for mine, given in zip(net.params["L"], (SCALE, SHIFT, MEAN, VARIANCE), strict=False):
                mine.data[...] = given.reshape(1, 3, 1, 1)
            net.blobs["x"].data[...] = X
            net.forward()
            np.testing.assert_array_equal(net.blobs["y"].data, y)
            for mine, other in zip(net.params["L"], expected.params["L"], strict=True):
                np.testing.assert_array_equal(mine.data, other.data)


def test_the_gradient_with_stored_statistics() -> None:
    dy = RNG.standard_normal(X.shape)
    for settings, phase in (("frozen: true", TRAIN), ("", TEST)):
        net, _ = run(settings, phase)
        found = gradients(net, dy)
        expected = dy * (SCALE / np.sqrt(VARIANCE + 1e-5)).reshape(1, 3, 1, 1)
        np.testing.assert_allclose(found[0], expected, rtol=1e-4, atol=1e-6)
        assert len(found) == (1 if "frozen" in settings else 3)


def test_how_it_starts() -> None:
    net = layer_net("BN", "bn_param { slope_filler { value: 1 } bias_filler { value: 2 } }", X.shape)
    assert [blob.data[0, 0, 0, 0] for blob in net.params["L"]] == [1, 2, 0, 0]
    net = layer_net("BN", "bn_param { frozen: true }", X.shape)
    assert [blob.data[0, 0, 0, 0] for blob in net.params["L"]] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("bn_param { eps: 1e-3 bn_mode: LEARN }", "eps and bn_mode belong to different forks' BN layers"),
        ("bn_param { frozen: true scale_filler { } }", "frozen and scale_filler belong to different forks"),
        ("bn_param { decay: 0.1 bn_mode: LEARN }", "decay and bn_mode belong to different forks"),
    ],
)
def test_settings_of_two_forks(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net("BN", settings, X.shape)


def test_tops_that_only_segnet_has() -> None:
    for settings in ("", "bn_param { bn_mode: INFERENCE }"):
        with pytest.raises(NetError, match="go with SegNet's bn_mode: LEARN"):
            layer_net("BN", settings, X.shape, tops=2)
    with pytest.raises(NetError, match="takes a bottom with a channel axis"):
        layer_net("BN", "", (4,))


def test_weights_of_another_family(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "segnet.caffemodel"
    layer_net("BN", "bn_param { bn_mode: INFERENCE }", X.shape).save(path)
    with pytest.raises(WeightsError, match='layer "L" has 2 blobs, the net has 4'):
        layer_net("BN", "", X.shape).copy_from(path)
