"""What launchers of MPI say of a process, and when that is not true."""

import sys

import pytest

from caffelite.errors import Error
from caffelite.parallel import ranks
from caffelite.parallel.ranks import launched, launched_size


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ranks._SIZES:
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher():
    with launched() as alone:
        assert alone.leads and alone.team is None


def test_a_launcher_of_another_mpi(monkeypatch):
    pytest.importorskip("mpi4py")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    assert launched_size() == 4
    with pytest.raises(Error, match="started 4 processes, but each is alone for the MPI of mpi4py"), launched():
        pass


def test_a_launcher_without_mpi4py(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(Error, match=r"pip install 'caffelite\[mpi\]'"), launched():
        pass
