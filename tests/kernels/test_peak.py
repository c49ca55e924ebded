"""What the machine can do is measured on work that is really done; how much it can do, no test can say."""

import numpy as np

from caffelite.kernels import peak
from caffelite.kernels.engine import settings


def test_tiles_are_computed() -> None:
    run = peak.tiles()
    _, x, k_offsets, _, w, out = run.arguments
    x[...], w[...] = 2, 3  # type: ignore[index]
    run()
    assert run.workers == settings.threads()
    # One for each thread that took part.
    assert set(np.unique(out)) - {0} == {6 * len(k_offsets)}  # type: ignore[arg-type]


def test_peaks_are_measured() -> None:
    assert 0 < peak.arithmetic() < 1e16
    assert 0 < peak.memory() < 1e14
