"""L1Loss in both of its meanings, and LpqLoss."""

import numpy as np
import pytest
from runner import forward, gradients, layer_net

from caffelite.errors import NetError

RNG = np.random.default_rng(1)
A, B = RNG.standard_normal((2, 3, 2, 4, 5))
D = A - B
WITH_NAN = B.copy()
WITH_NAN[0, 0, 1, 1:3] = np.nan
KNOWN = ~np.isnan(WITH_NAN)


def loss(settings: str, a: np.ndarray = A, b: np.ndarray | None = B, kind: str = "L1Loss") -> tuple[float, list]:
    inputs = [a] if b is None else [a, b]
    net = layer_net(kind, settings, *[x.shape for x in inputs])
    value = forward(net, *inputs)
    return float(value), gradients(net, np.array(2.0))


def test_nvidias() -> None:
    a = A.copy()
    a[0, 0, 0, 0] = B[0, 0, 0, 0]
    value, (da, db) = loss("", a)
    assert value == pytest.approx(abs(a - B).sum() / 3, rel=1e-5)
    np.testing.assert_allclose(da, 2 / 3 * np.sign(a - B), rtol=1e-5)
    np.testing.assert_allclose(db, -2 / 3 * np.sign(a - B), rtol=1e-5)
    assert np.isnan(loss("", A, WITH_NAN)[0])


def test_flownets() -> None:
    a = A.copy()
    a[0, 0, 0, 0] = B[0, 0, 0, 0]
    value, (da, _) = loss("l1_loss_param { }", a, WITH_NAN)
    d = np.where(KNOWN, a - np.nan_to_num(WITH_NAN), 0)
    assert value == pytest.approx(abs(d).sum() / 3, rel=1e-5)
    np.testing.assert_allclose(da, 2 / 3 * np.where(d > 0, 1, -1) * KNOWN, rtol=1e-5)
    value, _ = loss("l1_loss_param { normalize_by_num_entries: true }", a, WITH_NAN)
    assert value == pytest.approx(abs(d).sum() / (KNOWN.sum() / 2), rel=1e-5)


def test_a_plateau() -> None:
    value, (da, _) = loss("l1_loss_param { plateau: 0.7 }")
    assert value == pytest.approx(abs(D)[abs(D) >= 0.7].sum() / 3, rel=1e-5)
    np.testing.assert_array_equal(da == 0, abs(D) < 0.7)


def test_distances() -> None:
    d = np.where(KNOWN, A - np.nan_to_num(WITH_NAN), 0)
    for settings, factor in (("", 1), ("l2_prescale_by_channels: true", 0.5)):
        settings = f"l1_loss_param {{ l2_per_location: true epsilon: 0.3 {settings} }}"
        value, (da, db) = loss(settings, A, WITH_NAN)
        root = np.sqrt(factor * (d**2).sum(1, keepdims=True) + 0.3)
        assert value == pytest.approx(root.sum() / 3, rel=1e-5)
        np.testing.assert_allclose(da, 2 / 3 * factor * d / root, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(db, -da)


def test_a_plateau_of_distances() -> None:
    squares = (D**2).sum(1, keepdims=True)
    value, (da, _) = loss("l1_loss_param { l2_per_location: true plateau: 1 }")
    assert value == pytest.approx(np.sqrt(np.where(squares < 1, 0, squares) + 0.01).sum() / 3, rel=1e-5)
    np.testing.assert_array_equal(da == 0, np.broadcast_to(squares < 1, da.shape))


def test_one_bottom() -> None:
    value, (da,) = loss("l1_loss_param { }", A, None)
    assert value == pytest.approx(abs(A).sum() / 3, rel=1e-5)
    np.testing.assert_allclose(da, 2 / 3 * np.sign(A), rtol=1e-5)


def test_nothing_is_known() -> None:
    value, (da, _) = loss("l1_loss_param { normalize_by_num_entries: true }", A, np.full(B.shape, np.nan))
    assert value == 0
    assert not da.any()


def test_lpq() -> None:
    d = abs(D)
    settings = "lpq_loss_param { p: 1.5 q: 0.4 p_epsilon: 0.1 q_epsilon: 0.2 }"
    value, (da, _) = loss(settings, kind="LpqLoss")
    inner = ((d + 0.1) ** 1.5).sum(1, keepdims=True) + 0.2
    assert value == pytest.approx((inner**0.4).sum() / 3, rel=1e-5)
    slope = 2 / 3 * 0.4 * inner**-0.6 * 1.5 * (d + 0.1) ** 0.5 * np.sign(D)
    np.testing.assert_allclose(da, slope, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "settings", "shapes", "expected"),
    [
        ("L1Loss", "", [(2, 3)], "takes 2 bottoms, a and b"),
        ("L1Loss", "", [(2, 3), (2, 4)], "as many values, not 2×3 and 2×4"),
        ("L1Loss", "", [(2,), (2,)], "takes a bottom with a channel axis"),
        ("LpqLoss", "", [(2, 3), (2, 3)], "needs one p and one q"),
        ("LpqLoss", "lpq_loss_param { p: 2 q: 1 pq_episode_starts_at_iter: 5 }", [(2, 3), (2, 3)], "one p and one q"),
    ],
)
def test_what_does_not_fit(kind: str, settings: str, shapes: list[tuple[int, ...]], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        layer_net(kind, settings, *shapes)
