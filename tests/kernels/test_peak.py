"""What the machine can do is measured on work that is really done; how much it can do, no test can say."""

from caffelite.kernels import peak
from caffelite.kernels.engine import settings


def test_every_thread_computes_its_tile() -> None:
    run = peak.tiles()
    x, k_offsets, _, w, out = run.arguments
    x[...], w[...] = 2, 3  # type: ignore[index]
    run()
    assert run.workers == settings.threads()
    assert (out == 6 * len(k_offsets)).all()  # type: ignore[arg-type, union-attr]


def test_peaks_are_measured() -> None:
    assert 0 < peak.arithmetic() < 1e16
    assert 0 < peak.memory() < 1e14
