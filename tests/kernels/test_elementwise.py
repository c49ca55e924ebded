import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from caffelite.kernels import elementwise
from caffelite.kernels.elementwise import ADD, Function, chained, define
from caffelite.kernels.functions import sigmoid32

_F = np.float32
AFFINE = define(Function("TestAffine", lambda x, p, o: p[o] + p[o + 1] * x, lambda x, y, p, o: p[o + 1], "", 2))
SIGMOID = define(Function("TestSigmoid", lambda x, p, o: sigmoid32(x), lambda x, y, p, o: y * (_F(1) - y)))
SQUARE = define(Function("TestSquare", lambda x, p, o: x * x, lambda x, y, p, o: _F(2) * x, "x"))
LEAKY = define(
    Function("TestLeaky", lambda x, p, o: x if x > 0 else x * p[o], lambda x, y, p, o: _F(1) if x > 0 else p[o], "x", 1)
)
Plain = tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]
PLAIN: dict[str, Callable[[Sequence[float]], Plain]] = {
    "TestAffine": lambda c: (lambda x: c[0] + c[1] * x, lambda x: np.full_like(x, c[1])),
    "TestSigmoid": lambda c: (lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
    "TestSquare": lambda c: (lambda x: x * x, lambda x: 2 * x),
    "TestLeaky": lambda c: (lambda x: np.where(x > 0, x, c[0] * x), lambda x: np.where(x > 0, 1, c[0])),
}
CHAINS = [
    ([AFFINE], [0.5, -2.0]),
    ([SIGMOID], []),
    ([SQUARE], []),
    ([LEAKY], [0.25]),
    ([AFFINE, SIGMOID], [0.5, -2.0]),
    ([AFFINE, LEAKY, AFFINE, SQUARE, SIGMOID], [0.5, -2.0, 0.25, -1.0, 3.0]),
]
CHAIN_IDS = ["+".join(f.name[4:] for f in chain) for chain, _ in CHAINS]


def plain(chain: Sequence[Function], constants: Sequence[float], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope of a chain, one function after the other, in float64."""
    value, slope = x.astype(np.float64), np.ones(x.shape)
    rest = list(constants)
    for function in chain:
        own, rest = rest[: function.constants], rest[function.constants :]
        forward, gradient = PLAIN[function.name](own)
        slope *= gradient(value)
        value = forward(value)
    return value, slope


@pytest.mark.parametrize(("chain", "constants"), CHAINS, ids=CHAIN_IDS)
@pytest.mark.parametrize("size", [1, 17, 4096, 12_345])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_chain_is_the_composition(chain: list[Function], constants: list[float], size: int, in_place: bool) -> None:
    rng = np.random.default_rng(size)
    x, dy = rng.standard_normal((2, size)).astype(np.float32)
    value, slope = plain(chain, constants, x)
    inner = x.copy()
    y = inner if in_place else np.zeros_like(x)
    elementwise.forward(chain, constants, inner, y)()
    np.testing.assert_allclose(y, value, rtol=2e-5, atol=2e-6)
    # In place x is gone, and only what is computed from y (or from nothing) can still be asked for.
    if in_place and (len(chain) > 1 or chain[0].reads == "x"):
        return
    top = dy.copy()
    dx = top if in_place else np.zeros_like(x)
    elementwise.backward(chain, constants, inner, y, top, dx)()
    np.testing.assert_allclose(dx, dy * slope, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_chain_adds_another_array_where_it_says(at: int) -> None:
    functions = [AFFINE, LEAKY]
    keys = [function.key for function in functions]
    x, other = np.random.default_rng(at).standard_normal((2, 12_345)).astype(np.float32)
    value, constants = x, [0.5, -2.0, 0.25]
    for i in range(3):
        if i == at:
            value = value + other
        if i < 2:
            value = plain(functions[i : i + 1], constants[2 * i :], value)[0]
    (call,) = chained([*keys[:at], ADD, *keys[at:]], constants, other).over(x)
    call()
    np.testing.assert_allclose(x, value, rtol=2e-5, atol=2e-6)


def test_a_function_that_is_changed_is_compiled_anew(tmp_path: Path) -> None:
    found = []
    for factor in (2, 5):
        path = tmp_path / f"{factor}" / "layer.py"
        path.parent.mkdir()
        path.write_text(
            f"import numpy as np\ndef forward(x, p, o):\n    return x * np.float32({factor})\n"
            f"def gradient(x, y, p, o):\n    return np.float32({factor})\n"
        )
        spec = importlib.util.spec_from_file_location("layer", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function = define(Function("TestChanged", module.forward, module.gradient, ""))
        x, y, dx = np.ones(3, _F), np.zeros(3, _F), np.zeros(3, _F)
        elementwise.forward([function], [], x, y)()
        elementwise.backward([function], [], x, y, x, dx)()
        found.append((y[0], dx[0]))
    assert found == [(2, 2), (5, 5)]


def test_nan_stays_nan_and_infinity_infinity() -> None:
    x = np.float32([np.nan, np.inf, -np.inf, 0])
    y = np.zeros_like(x)
    elementwise.forward([LEAKY], [0.5], x, y)()
    np.testing.assert_array_equal(y, x)
    elementwise.forward([AFFINE, SIGMOID], [0, 1], x, y)()
    np.testing.assert_array_equal(y, np.float32([np.nan, 1, 0, 0.5]))
