"""tools/bvlc_examples.py: programs where Caffe's build puts them, and solvers that end soon."""

import os
import subprocess
from pathlib import Path

from bvlc_examples import BEGINNINGS, ITERATIONS, SCRIPTS, link_programs, shorten

from caffelite.cli.program import PROGRAMS

SOLVER = """net: "net.prototxt"
test_iter: 100
test_interval: 1000
base_lr: 0.001
display: 200
max_iter: 65000
snapshot: 5000
snapshot_prefix: "x"
"""


def test_there_are_21_scripts() -> None:
    assert sum(map(len, SCRIPTS.values())) == 21


def test_programs_are_where_scripts_call_them(tmp_path: Path) -> None:
    link_programs(tmp_path)
    assert {path.name for path in (tmp_path / "build" / "tools").iterdir()} == {*PROGRAMS, "caffelite"}
    program = tmp_path / "build" / "examples" / "mnist" / "convert_mnist_data.bin"
    paths = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")]))
    done = subprocess.run([program], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert done.returncode == 2
    assert "caffelite convert_mnist_data --help" in done.stderr


def test_solvers_end_soon_behind_where_they_begin(tmp_path: Path) -> None:
    net = tmp_path / "models" / "bvlc_reference_caffenet" / "train_val.prototxt"
    net.parent.mkdir(parents=True)
    net.write_text("batch_size: 256\n")
    net.with_name("solver.prototxt").write_text(SOLVER)
    goes_on = tmp_path / "examples" / "cifar10" / "cifar10_full_solver_lr1.prototxt"
    goes_on.parent.mkdir(parents=True)
    goes_on.write_text(SOLVER)
    shorten(tmp_path)
    end = BEGINNINGS["cifar10_full_solver_lr1"] + ITERATIONS
    assert goes_on.read_text() == SOLVER.replace("100\n", "1\n").replace("1000", str(ITERATIONS)).replace(
        "200", "1"
    ).replace("65000", str(end)).replace("5000\n", f"{end}\n")
    assert f"max_iter: {ITERATIONS}\n" in net.with_name("solver.prototxt").read_text()
    assert net.read_text() == "batch_size: 4\n"
