"""What a measurement holds, against what the solver's arrays hold at that moment."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from measured_net import write_net

from caffelite.report.behind import rays, verdict
from caffelite.report.measuring import measured
from caffelite.report.metrics import Line
from caffelite.solvers.logs import Listener, Listeners
from caffelite.solvers.solver import Solver

DOCS = Path(__file__).parents[2] / "docs" / "reports.md"


class Beside(Listener):
    """Sees the gradients of each iteration, and the weights and updates after it."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[float, float, float]] = {}

    def watch(self, solver: Solver) -> None:
        self.blobs = [blob for blob in solver.net.params["ip"]]

    def norm(self, what: str) -> float:
        return float(np.sqrt(sum((getattr(blob, what).astype(np.float64) ** 2).sum() for blob in self.blobs)))

    def on_gradients(self, iteration: int) -> None:
        self.gradients = self.norm("diff")

    def on_step(self, iteration: int, loss: float) -> None:
        self.rows[iteration] = self.norm("data"), self.gradients / 2, self.norm("diff")


def test_a_run_is_measured(tmp_path: Path) -> None:
    beside = Beside()
    solver = Solver(write_net(tmp_path, "iter_size: 2"), beside)
    beside.watch(solver)
    lines: list[Line] = []
    with measured(solver, lines.append, every=4):
        solver.solve()
    solver.close()
    assert solver.listener is beside
    assert [(line["event"], line["iteration"]) for line in lines] == [
        ("start", 0),
        ("test", 0),
        ("train", 1),
        ("train", 4),
        ("test", 5),
        ("train", 8),
        ("test", 10),
        ("train", 12),
        ("end", 12),
    ]
    start, end, train = lines[0], lines[-1], [line for line in lines if line["event"] == "train"]
    assert start["batchnorm"] == {"bn": {"channels": [0, 1, 2], "of": 3, "images": 4, "fraction": 0.9}}
    assert start["shares"] == ["accuracy"] and end["reason"] == ""
    assert [len(line["losses"]) for line in train] == [1, 3, 4, 4]
    for line in train:
        norms = line["norms"]["ip"]
        assert list(norms) == ["weights", "gradients", "updates"]
        assert list(norms.values()) == pytest.approx(beside.rows[line["iteration"]], rel=1e-4)
        assert set(line["norms"]) == {"ip"} and line["rate"] == 0.1
    assert train[-1]["seconds_left"] == 0 and train[1]["seconds_left"] > 0


def test_how_far_stored_statistics_are_behind(tmp_path: Path) -> None:
    solver = Solver(write_net(tmp_path), Listener())
    (ray,) = rays(solver.net)
    solver.step(1)
    mean, deviation = ray.behind()
    # What is stored after the first batch is that batch, its variance the unbiased one of four images.
    assert mean == pytest.approx(0, abs=1e-5) and deviation == pytest.approx(np.sqrt(4 / 3) - 1, abs=1e-3)
    solver.step(1)
    x, (mean_sum, variance_sum, factor) = solver.net.blobs["data"].data, solver.net.params["bn"]
    std = np.sqrt(x.var(0) + 1e-5)
    mean, deviation = ray.behind()
    assert mean == pytest.approx((mean_sum.data / factor.data - x.mean(0)) / std, abs=1e-4)
    assert deviation == pytest.approx(np.sqrt(variance_sum.data / factor.data + 1e-5) / std - 1, abs=1e-4)
    solver.close()


def test_the_bn_of_a_fork(tmp_path: Path) -> None:
    solver_path = write_net(tmp_path)
    net = tmp_path / "net.prototxt"
    net.write_text(net.read_text().replace('"BatchNorm"', '"BN"').replace("batch_norm_param", "bn_param"))
    net.write_text(net.read_text().replace("moving_average_fraction: 0.9", "momentum: 0.75"))
    solver = Solver(solver_path, Listener())
    (ray,) = rays(solver.net)
    assert ray.layer.fraction == 0.75
    solver.step(1)
    # It began with zeros, of which three quarters are left.
    x = solver.net.blobs["data"].data
    std = np.sqrt(x.var(0) + 1e-5)
    mean, deviation = ray.behind()
    assert mean == pytest.approx(-0.75 * x.mean(0) / std, abs=1e-4)
    assert deviation == pytest.approx(np.sqrt(0.25 * x.var(0) + 1e-5) / std - 1, abs=1e-4)
    solver.close()


def test_a_verdict() -> None:
    far = {"mean": [0.5, -2.0, 0.1], "deviation": [0.0, 0.1, None]}
    near: dict[str, list[float | None]] = {"mean": [0.1, 0.0, 0.0], "deviation": [0.0, 0.0, 0.0]}
    said = verdict([near, far, far], 100)
    assert said is not None and said.behind
    assert (said.mean, said.worst_mean, said.deviation, said.worst_deviation) == (0.5, 2.0, 0.05, 0.1)
    said = verdict([far] + [near] * 5, 100)
    assert said is not None and not said.behind
    # The same distance is chance in a batch of a few.
    said = verdict([far], 4)
    assert said is not None and not said.behind
    assert verdict([{"mean": [None], "deviation": [None]}], 100) is None


def test_why_a_run_ended(tmp_path: Path) -> None:
    solver = Solver(write_net(tmp_path), Listener())
    lines: list[Line] = []
    with pytest.raises(ValueError, match="broken"), measured(solver, lines.append):
        solver.step(2)
        raise ValueError("broken")
    solver.close()
    assert [line["event"] for line in lines] == ["test", "train", "end"] and lines[-1]["reason"] == "broken"


def test_the_listener_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = [
        text for text in re.findall(r"```python\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL) if "Listener" in text
    ]
    write_net(tmp_path, "snapshot_after_train: false")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(code[0], names)
    solver = names["mine"].solver
    # All labels are one; the net learns to say so before the run's end.
    assert solver.stopped and solver.iteration < 12


def test_several_listeners() -> None:
    seen: list[str] = []

    class One:
        def on_say(self, text: str) -> None:
            seen.append(f"one {text}")

    class Other(Listener):
        def on_say(self, text: str) -> None:
            seen.append(f"other {text}")

    both = Listeners(One(), Other())
    both.on_say("word")
    both.on_end(False)
    assert seen == ["one word", "other word"] and not hasattr(Listeners(One()), "on_end")
