"""What launchers of MPI say of a process, and when that is not true."""

import sys
from types import SimpleNamespace

import pytest

from caffelite.errors import MissingExtraError, ParallelError
from caffelite.parallel.launcher import VARIABLES, launched
from caffelite.parallel.ranks import the_part


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in (name for names in VARIABLES for name in names[:2]):
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher():
    with the_part() as alone:
        assert alone.leads and alone.team is None


def test_a_launcher_of_another_mpi(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setattr("caffelite.parallel.starting._mpi4py", lambda: ALONE)
    assert launched() == (1, 4, "Slurm")
    with (
        pytest.raises(ParallelError, match="has started 4 processes, but mpi4py has MPICH, for which each"),
        the_part(),
    ):
        pass


#: An MPI that knows of one process only.
ALONE = SimpleNamespace(
    THREAD_MULTIPLE=3,
    COMM_WORLD=SimpleNamespace(Get_size=lambda: 1),
    get_vendor=lambda: ("MPICH", (5, 0, 0)),
    Init_thread=lambda level: level,
    Finalize=lambda: None,
)


def test_a_launcher_without_mpi4py(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "0")
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'caffelite\[mpi\]'"), the_part():
        pass
