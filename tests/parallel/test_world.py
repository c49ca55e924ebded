"""Processes under the mpiexec of the wheels, oversubscribed where there are fewer cores."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from calling import LIMIT, write_records

from caffelite.cli import main
from caffelite.layers.contract.group import ALONE
from caffelite.parallel import ends
from tests.groups import in_threads
from tests.small_runs import RULES, trained

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


def run_train(folder: Path, *options: str) -> tuple[int, str]:
    return ran([sys.executable, "-P", "-m", "caffelite", "train", "solver.prototxt", *options], folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(write_records(tmp_path))
    solver = 'net: "net.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 6 display: 1 snapshot_prefix: "run"'
    (tmp_path / "solver.prototxt").write_text(solver)
    return tmp_path


def test_sums_agreement_and_what_is_learned(tmp_path):
    """Groups of four, three and two processes: each adds up, compares, and learns what one process does."""
    program = str(Path(__file__).with_name("on_ranks.py"))
    code, said = ran([str(MPIEXEC), "-n", "4", sys.executable, program], tmp_path)
    assert code == 0 and said.count("well") == 4, said
    for size in (2, 3, 4):
        with np.load(tmp_path / f"{size}.npz") as learned:
            assert len(learned) == 2 * len(RULES)
            for rule in RULES:
                alone = trained(ALONE, rule, "batch")
                np.testing.assert_allclose(learned[f"{rule} batch"], alone, rtol=1e-4, atol=1e-4)
                threads = in_threads(size, lambda group, rule=rule: trained(group, rule, "process"))
                np.testing.assert_allclose(learned[f"{rule} process"], threads[0], rtol=1e-4, atol=1e-4)
                assert np.abs(alone - threads[0]).max() > 1e-3


def test_a_training_on_two_processes(folder):
    code, said = run_train(folder, "--processes", "2")
    assert code == 0 and said.count("weights in run_iter_6.caffemodel") == 1, said
    assert "images/s in all on 2 processes" in said and "of the time waiting" in said


def test_one_sentence_where_all_fail(folder):
    net = (folder / "net.prototxt").read_text().replace("batch_size: 10", "batch_size: 1")
    (folder / "net.prototxt").write_text(net)
    code, said = run_train(folder, "--processes", "2")
    assert code == 1 and said.count("a batch of 1 cannot be divided among 2 processes") == 1, said


def test_an_mpi_that_is_not_the_launchers(folder, monkeypatch):
    # What the launcher of another MPI leaves behind: its variables, and an MPI for which this process is alone.
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    code, said = run_train(folder)
    assert code != 0 and said.count("has started 2 processes, but mpi4py has") == 1 and "Traceback" not in said, said


def test_processes_against_a_launcher(folder, monkeypatch, capsys):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "3")
    ended = []
    monkeypatch.setattr(ends, "_end_others", None)
    monkeypatch.setattr(ends, "_end_by_signal", lambda: ended.append(1))
    assert main(["train", str(folder / "solver.prototxt"), "--processes", "2"]) == 1
    assert "--processes 2: a launcher has started 3 already" in capsys.readouterr().err
    assert ended, "the others would wait for ever"


def test_a_usage_error_is_told_once(folder):
    code, said = ran([str(MPIEXEC), "-n", "2", sys.executable, "-m", "caffelite", "train", "--nonsense"], folder)
    assert code != 0 and said.count("--nonsense is not known") == 1, said
