"""How a process ends that others wait for."""

import signal
from types import SimpleNamespace

import pytest

from caffelite.errors import ParallelError
from caffelite.parallel import ends, world


def test_a_signal_ends_a_process_that_waits_to_tell_its_error(monkeypatch):
    # The first has told the same error, and a launcher ends the others by a signal.
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("PMI_SIZE", "2")
    seen = []
    monkeypatch.setattr(ends.time, "sleep", lambda seconds: seen.append((seconds, signal.getsignal(signal.SIGTERM))))
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        ends.wait_turn()
        assert seen == [(1.5, signal.SIG_DFL)]
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with ends.plain_signals():
            assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("text", "kind"), [("MPI error: Out of memory", MemoryError), ("peer gone", ParallelError)])
def test_what_an_error_of_mpi_means(text, kind, monkeypatch):
    monkeypatch.setattr(world.time, "sleep", lambda seconds: None)
    group = world.MpiGroup.__new__(world.MpiGroup)
    group._mpi = SimpleNamespace(Exception=RuntimeError)

    def fail():
        raise RuntimeError(text)

    with pytest.raises(kind):
        group.checked(fail)
