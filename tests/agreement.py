"""What kernels are held to: the plain loops of ``naive``, and vectors of every width."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import naive
import numpy as np
from numpy.typing import DTypeLike

from caffelite.kernels.convolution.geometry import Geometry
from caffelite.kernels.engine import arrays


class Spoilt(arrays.Pool):
    """Scratch in which another call has left what must not be read."""

    def take(self, *shapes: Sequence[int], dtype: DTypeLike = np.float32) -> list[np.ndarray]:
        taken = super().take(*shapes, dtype=dtype)
        for array in taken:
            array.fill(np.nan)
        return taken


def close(found: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(np.abs(expected).max(), 1e-3))


def check_convolution(
    case: tuple, steps: Callable[..., list], dtype: type = np.float32, bias_gradient: bool = True
) -> None:
    """Hold ``steps(g, x, w, b, dy, y, dx, dw, db)`` against plain loops; nothing behind y may be written."""
    g = Geometry(*case)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((g.images, g.channels, *g.size)).astype(dtype)
    w = rng.standard_normal((g.outputs, g.channels // g.group, *g.kernel)).astype(dtype)
    b = rng.standard_normal(g.outputs).astype(dtype)
    dy = rng.standard_normal((g.images, g.outputs, *g.output_size)).astype(dtype)
    rest = (g.stride, g.pad, g.dilation, g.group)
    memory = np.full(dy.size + 64, 7, dtype)
    y, dx = memory[: dy.size].reshape(dy.shape), np.full(x.shape, 7, dtype)
    dw, db = np.ones(w.shape, dtype), np.ones(b.shape, dtype)
    with arrays.sharing(Spoilt()):
        calls = steps(g, x, w, b, dy, y, dx, dw, db)
    for _ in range(2):  # the second time everything but the sums comes out the same
        for call in calls:
            call()
    expected_dx, expected_dw, expected_db = naive.convolution_gradients(x, w, dy, *rest)
    expected_y = naive.convolution(x, w, b, *rest)
    close(y, expected_y)
    assert (memory[dy.size :] == 7).all()
    close(dx, expected_dx)
    close(dw, 1 + 2 * expected_dw)
    if bias_gradient:
        close(db, 1 + 2 * expected_db)
    if dtype is np.float64:
        np.testing.assert_allclose(y, expected_y, rtol=0, atol=1e-12)


def check_with_vectors_of(width: str, code: str) -> None:
    """Run code where the machine has other vectors, or none: in a process of its own, where the width is fixed."""
    here = Path(__file__).parent
    # The code imports a test of kernels, which is no package.
    rooms = [here, *(path for path in (here / "kernels").rglob("*") if path.is_dir()), here / "kernels"]
    paths = os.pathsep.join([*map(str, rooms), *sys.path])
    environment = {**os.environ, "CAFFELITE_VECTOR": width, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
