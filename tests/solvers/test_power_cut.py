"""A power cut at any moment of a run leaves the last snapshot whole, and nothing that looks like one and is not."""

import os
from pathlib import Path

import pytest
from power_cut import Recorder, State, cuts

from caffelite import files
from caffelite.data.database import open_database
from caffelite.data.writing import write_database
from caffelite.errors import Error
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.snapshot_files import check_whole, states_of
from caffelite.solvers.solver import Solver

SOLVER = """
net_param {
  layer { name: "data" type: "DummyData" top: "x" top: "label"
    dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } data_filler { type: "gaussian" }
      data_filler { type: "constant" value: 1 } } }
  layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
  layer { name: "loss" type: "SoftmaxWithLoss" bottom: "y" bottom: "label" top: "loss" }
}
base_lr: 0.1 lr_policy: "fixed" max_iter: 9 snapshot_prefix: "deep/folder/net" snapshot_format: FORMAT
"""


def put(folder: Path, state: State) -> None:
    for path, content in state.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def newest(folder: Path) -> int:
    """Return the iteration of the newest snapshot in a folder, all of which have to be whole; 0 where there is none."""
    states = states_of(str(folder / "deep" / "folder" / "net"))
    for _, path in states:
        check_whole(path)
    return states[0][0] if states else 0


def record(kind: str, folder: Path) -> Recorder:
    solver = Solver(parse_text(SOLVER.replace("FORMAT", kind), messages.SolverParameter, "s.prototxt"), Listener())
    with Recorder(folder).recording() as recorder:
        for _ in range(2):
            solver.step(1)
            solver.snapshot()
            recorder.mark(solver.iteration)
    solver.close()
    return recorder


@pytest.mark.parametrize("kind", ["BINARYPROTO", "HDF5"])
def test_a_snapshot_that_is_done_is_there_after_a_power_cut(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recorder = record(kind, tmp_path)
    assert [event.kind for event in recorder.events].count("content") == 4
    seen = 0
    for number, (done, state) in enumerate(cuts(recorder.events)):
        folder = tmp_path / f"cut{number}"
        folder.mkdir()
        put(folder, state)
        monkeypatch.chdir(folder)
        assert newest(folder) >= done
        seen += bool(state)
    assert seen > 20


@pytest.mark.parametrize("what", ["content", "names"])
def test_the_model_tells_files_that_were_not_synced(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sync = files._sync
    monkeypatch.setattr(files, "_sync", lambda path: sync(path) if path.is_dir() == (what == "content") else None)
    recorder = record("BINARYPROTO", tmp_path)
    lost = 0
    for number, (done, state) in enumerate(cuts(recorder.events)):
        folder = tmp_path / f"cut{number}"
        folder.mkdir()
        put(folder, state)
        monkeypatch.chdir(folder)
        try:
            lost += newest(folder) < done
        except Error:
            lost += 1
    assert lost


def test_a_database_is_whole_after_a_power_cut(tmp_path, monkeypatch):
    base = tmp_path / "base"
    with Recorder(tmp_path).recording() as recorder:
        for number in (1, 2):
            write_database(base, [(b"0", b"%d" % number)])
            recorder.mark(number)
    # Folders are renamed here: what is in them was synced before, each of them for itself.
    renamed = [event for event in recorder.events if event.kind == "name"]
    assert [str(event.path) for event in renamed] == ["base", "base"]
    for event in renamed:
        before = recorder.events[: recorder.events.index(event)]
        assert [one.kind for one in before[-2:]] == ["content", "names"]
        assert before[-1].node == event.node
    assert recorder.events[-1].kind == "mark"
    assert recorder.events[-2] == ("names", os.stat(tmp_path).st_ino, None, 0, None)
    database = open_database(base)
    assert database.read(0) == b"2"
    database.close()
