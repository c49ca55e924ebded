"""Processes under the mpiexec of the wheels, oversubscribed where there are fewer cores."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from calling import LIMIT, write_records

BESIDE = Path(sys.executable).with_name("mpiexec")
MPIEXEC = str(BESIDE) if BESIDE.is_file() else shutil.which("mpiexec")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    MPIEXEC is None or find_spec("mpi4py") is None, reason="mpi4py or mpiexec is not installed"
)


def ran(command: list[str], folder: Path) -> tuple[int, str]:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {
        **os.environ,
        "PYTHONPATH": paths,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    environment["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe"
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, timeout=LIMIT, check=False
    )
    return done.returncode, done.stdout + done.stderr


def trained(folder: Path, *options: str) -> tuple[int, str]:
    return ran([sys.executable, "-P", "-m", "caffelite", "train", "solver.prototxt", *options], folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(write_records(tmp_path))
    solver = 'net: "net.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 6 display: 1 snapshot_prefix: "run"'
    (tmp_path / "solver.prototxt").write_text(solver)
    return tmp_path


def test_sums_and_agreement(tmp_path):
    program = str(Path(__file__).with_name("on_ranks.py"))
    code, said = ran([str(MPIEXEC), "-n", "2", sys.executable, program], tmp_path)
    assert code == 0 and said.count("well") == 2, said


def losses(said: str) -> list[float]:
    return [float(text) for text in re.findall(r"Iteration \d+.*, loss = (\S+)", said)]


def test_two_processes_train_as_one_does(folder):
    alone = trained(folder, "--iterations", "6")
    together = trained(folder, "--processes", "2")
    assert alone[0] == together[0] == 0, alone[1] + together[1]
    assert losses(together[1]) == pytest.approx(losses(alone[1]), rel=1e-4) and losses(alone[1])
    assert together[1].count("weights in run_iter_6.caffemodel") == 1
    assert "images/s in all on 2 processes" in together[1] and "of the time waiting" in together[1]


def test_one_sentence_where_both_fail(folder):
    (folder / "solver.prototxt").write_text('net: "missing.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 6')
    code, said = trained(folder, "--processes", "2")
    assert code == 1 and said.count("missing.prototxt") == 1 and "Traceback" not in said, said


def test_more_processes_than_a_batch_has_images(folder):
    net = (folder / "net.prototxt").read_text().replace("batch_size: 10", "batch_size: 1")
    (folder / "net.prototxt").write_text(net)
    code, said = trained(folder, "--processes", "2")
    assert code == 1 and said.count("a batch of 1 cannot be divided among 2 processes") == 1, said


def test_an_mpi_that_is_not_the_launchers(folder, monkeypatch):
    # What the launcher of another MPI leaves behind: its variables, and an MPI for which this process is alone.
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    code, said = trained(folder)
    assert code != 0 and said.count("has started 2 processes, but mpi4py has") == 1 and "Traceback" not in said, said


def test_processes_against_a_launcher(folder, monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "3")
    code, said = trained(folder, "--processes", "2")
    assert code == 1 and "--processes 2: a launcher has started 3 already" in said, said
