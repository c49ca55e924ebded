import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.layers.shared.fillers import fill
from caffelite.schema.messages import FillerParameter


def filled(shape: tuple[int, ...], **settings: object) -> np.ndarray:
    array = np.zeros(shape, np.float32)
    fill(array, FillerParameter(**settings), np.random.default_rng(9), 'net:1:1: layer "a"')
    return array


def test_constant_and_none() -> None:
    assert (filled((2, 3), type="constant", value=0.25) == 0.25).all()
    array = np.ones(3, np.float32)
    fill(array, None, np.random.default_rng(), "")
    assert (array == 0).all()


def test_uniform_and_gaussian() -> None:
    x = filled((200, 500), type="uniform", min=-2, max=3)
    assert -2 <= x.min() < -1.99
    assert 2.99 < x.max() < 3
    x = filled((200, 500), type="gaussian", mean=1, std=0.5)
    np.testing.assert_allclose([x.mean(), x.std()], [1, 0.5], atol=0.01)
    x = filled((200, 500), type="gaussian", std=1, sparse=20)
    np.testing.assert_allclose((x != 0).mean(), 20 / 200, atol=0.01)


@pytest.mark.parametrize(("norm", "n"), [(0, 50 * 9), (1, 100 * 9), (2, 75 * 9)])
def test_xavier_and_msra(norm: int, n: int) -> None:
    shape = (100, 50, 3, 3)
    np.testing.assert_allclose(
        np.abs(filled(shape, type="xavier", variance_norm=norm)).max(), np.sqrt(3 / n), rtol=1e-2
    )
    np.testing.assert_allclose(filled(shape, type="msra", variance_norm=norm).std(), np.sqrt(2 / n), rtol=0.02)


def test_positive_unitball_and_bilinear() -> None:
    x = filled((4, 3, 5), type="positive_unitball")
    assert (x >= 0).all()
    np.testing.assert_allclose(x.reshape(4, -1).sum(axis=1), 1, rtol=1e-5)
    x = filled((2, 1, 4, 4), type="bilinear")
    np.testing.assert_allclose(x[0, 0, 0], [0.0625, 0.1875, 0.1875, 0.0625])
    np.testing.assert_array_equal(x[0], x[1])


def test_what_cannot_be_filled() -> None:
    with pytest.raises(
        NetError, match='net:1:1: layer "a": there is no filler type "gausian"; did you mean "gaussian"?'
    ):
        filled((2,), type="gausian")
    with pytest.raises(NetError, match="square filters"):
        filled((2, 3), type="bilinear")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"type": "uniform", "min": 1, "max": 0}, "min is 1 and max is 0"),
        ({"type": "uniform", "min": float("-inf")}, "expected finite"),
        ({"type": "gaussian", "std": -1}, "std is -1, expected 0 or more"),
        ({"type": "gaussian", "sparse": -7}, "sparse is -7"),
        ({"type": "xavier", "sparse": 3}, 'sparse goes with a gaussian filler, not with "xavier"'),
        ({"type": "gausian", "sparse": 3}, 'did you mean "gaussian"'),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(NetError, match=expected):
        filled((4, 5), **settings)


def test_a_scalar_can_be_filled() -> None:
    assert filled((), type="positive_unitball") == 1
    assert abs(filled((), type="xavier")) <= np.sqrt(3)
