"""A run on a database goes on bit for bit from its snapshot: place in the data, crops, mirrors, dropout, tests."""

import shutil
from pathlib import Path

import pytest

from caffelite.solvers.logs import Listener
from caffelite.solvers.solver import Solver

CAFFE = Path(__file__).parent.parent / "caffe"


def test_goes_on_bit_for_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CAFFE, tmp_path / "run")
    monkeypatch.chdir(tmp_path / "run")
    net = Path("net.prototxt").read_text()
    net = net.replace("scale: 0.01", "scale: 0.01 crop_size: 12 mirror: true").replace("batch_size: 6", "batch_size: 7")
    net += 'layer { name: "drop" type: "Dropout" bottom: "pool1" top: "pool1" }\n'
    lines = net.splitlines()
    lines.insert(next(i for i, line in enumerate(lines) if '"ip"' in line), lines.pop())
    Path("net.prototxt").write_text("\n".join(lines))
    solver = Path("solver.prototxt").read_text().replace("snapshot: 6", "snapshot: 5 average_loss: 3")

    def run(prefix: str, start: str | None = None) -> tuple[bytes, list[float]]:
        Path("here.prototxt").write_text(solver.replace('"snap"', f'"{prefix}"'))
        losses: list[float] = []

        class Losses(Listener):
            def on_step(self, iteration: int, loss: float) -> None:
                losses.append(loss)

        made = Solver("here.prototxt", Losses())
        made.solve(start)
        made.close()
        return Path(f"{prefix}_iter_12.caffemodel").read_bytes(), losses

    whole, losses = run("whole")
    resumed, rest = run("again", "whole_iter_5.solverstate")
    assert rest == losses[5:]
    assert resumed == whole
