"""Files of snapshots: the newest whole one, and those that are removed; nothing else is touched."""

from pathlib import Path

import pytest

from caffelite.errors import SolverError
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.snapshot_files import newest_whole, states_of
from caffelite.solvers.snapshots import read_state, write_state
from caffelite.solvers.solver import Solver

NET = """
layer { name: "data" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 4 dim: 3 } shape { dim: 4 dim: 2 } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip"
  inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "ip" bottom: "t" top: "loss" }
"""


class Said(Listener):
    def __init__(self):
        self.lines = []

    def on_say(self, text):
        self.lines.append(text)


def make(prefix, extra=""):
    text = f'net_param {{ {NET} }} base_lr: 0.1 lr_policy: "fixed" snapshot: 2 snapshot_prefix: "{prefix}" {extra}'
    return Solver(parse_text(text, messages.SolverParameter, "s.prototxt"), Said())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def pair(prefix, iteration, ending=""):
    return [f"{prefix}_iter_{iteration}.{kind}{ending}" for kind in ("caffemodel", "solverstate")]


@pytest.mark.parametrize("ending", ["", ".h5"])
def test_the_newest_whole_one(tmp_path, ending):
    prefix, said = f"{tmp_path}/net", []
    make(prefix, "snapshot_format: HDF5" if ending else "").step(10)
    model, state = (tmp_path / name for name in pair("net", 10, ending))
    assert newest_whole(prefix, said.append) == state and not said
    content = state.read_bytes()
    state.write_bytes(content[: len(content) // 2])
    other, damaged = (tmp_path / name for name in pair("net", 8, ending))
    content = other.read_bytes()
    other.write_bytes(content[:-1])
    (tmp_path / pair("net", 6, ending)[0]).unlink()
    assert newest_whole(prefix, said.append) == tmp_path / pair("net", 4, ending)[1]
    assert len(said) == 3 and all(line.endswith("; it is skipped") and "\n" not in line for line in said)
    assert said[0].startswith(f"{state}: not a")
    assert said[1] == f"{damaged}: {other} are not the weights that were written with it; it is skipped"
    assert "are missing" in said[2]


def test_iterations_are_numbers_not_text(tmp_path):
    make(f"{tmp_path}/net").step(12)
    assert [done for done, _ in states_of(f"{tmp_path}/net")] == [12, 10, 8, 6, 4, 2]


def test_no_whole_one(tmp_path):
    said = []
    assert newest_whole(f"{tmp_path}/missing/net", said.append) is None
    (tmp_path / "net_iter_3.solverstate").write_text("")
    assert newest_whole(f"{tmp_path}/net", said.append) is None
    assert len(said) == 1 and "net_iter_3.solverstate: not a solver state: it has no iteration; it" in said[0]


def test_a_state_without_digests_is_whole_where_its_weights_can_be_read(tmp_path):
    make(f"{tmp_path}/net").step(2)
    model, path = (tmp_path / name for name in pair("net", 2))
    state = read_state(path)
    state.extra.clear()
    write_state(path, state)
    assert newest_whole(f"{tmp_path}/net", print) == path
    model.write_bytes(model.read_bytes()[:30])
    assert newest_whole(f"{tmp_path}/net", print) is None


def test_so_many_snapshots_stay(tmp_path):
    solver = make(f"{tmp_path}/net", "snapshot_keep: 2")
    solver.step(8)
    assert names(tmp_path) == sorted(pair("net", 6) + pair("net", 8))
    solver.step(2)
    assert names(tmp_path) == sorted(pair("net", 8) + pair("net", 10))
    assert not solver.listener.lines


def test_all_stay_by_default(tmp_path):
    make(f"{tmp_path}/net").step(8)
    assert len(names(tmp_path)) == 8


def test_only_what_this_naming_made_is_removed(tmp_path):
    make(f"{tmp_path}/net_bn").step(2)
    others = [
        *pair("net_bn", 2),
        *pair("net", "02"),
        *pair("net", "2_iter_3"),
        *pair("anet", 2),
        *pair("NET", 2),
        "net_iter_2.caffemodel.backup",
        "net_iter_.solverstate",
        "net_iter_1.caffemodel",  # somebody has removed its state to keep it
        "net_iter_2.prototxt",
    ]
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / "net_iter_3.solverstate").mkdir()
    (tmp_path / "net_iter_5.solverstate").symlink_to("net_bn_iter_2.solverstate")
    later = pair("net", 900)  # of an earlier run
    (tmp_path / later[0]).touch()
    (tmp_path / later[1]).touch()
    solver = make(f"{tmp_path}/net", "snapshot_keep: 1")
    solver.step(8)
    stay = {*others, "net_iter_3.solverstate", "net_iter_5.solverstate", *later}
    assert set(names(tmp_path)) == stay | set(pair("net", 8))


def test_what_is_left_of_a_removal_that_was_cut_short_is_removed(tmp_path):
    make(f"{tmp_path}/net").step(2)
    (tmp_path / pair("net", 2)[0]).unlink()
    solver = make(f"{tmp_path}/net", "snapshot_keep: 1")
    solver.iteration = 2
    solver.step(2)
    assert names(tmp_path) == sorted(pair("net", 4))


def test_weights_that_are_a_link_stay(tmp_path):
    make(f"{tmp_path}/net").step(2)
    model = tmp_path / pair("net", 2)[0]
    model.rename(tmp_path / "elsewhere")
    model.symlink_to("elsewhere")
    solver = make(f"{tmp_path}/net", "snapshot_keep: 1")
    solver.iteration = 2
    solver.step(2)
    assert names(tmp_path) == sorted(["elsewhere", *pair("net", 2), *pair("net", 4)])


def test_nothing_is_removed_where_the_new_one_is_not_whole(tmp_path, monkeypatch):
    solver = make(f"{tmp_path}/net", "snapshot_keep: 1")
    solver.step(2)
    write = write_state

    def cut(path, state):
        write(path, state)
        Path(path).write_bytes(Path(path).read_bytes()[:50])

    monkeypatch.setattr("caffelite.solvers.snapshot_files.write_state", cut)
    solver.step(2)
    assert names(tmp_path) == sorted(pair("net", 2) + pair("net", 4))
    assert solver.listener.lines[0].endswith("; so no older snapshot is removed") and len(solver.listener.lines) == 1


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
    solver = make(f"{tmp_path}/net", "snapshot_keep: 1")
    solver.step(2)

    def refused(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "unlink", refused)
    solver.step(2)
    assert solver.iteration == 4
    expected = f"{tmp_path}/net_iter_2.caffemodel: this older snapshot cannot be removed: Permission denied"
    assert solver.listener.lines == [expected]


def test_a_number_that_makes_no_sense(tmp_path):
    with pytest.raises(SolverError, match="snapshot_keep is -1, expected 0 or more"):
        make(f"{tmp_path}/net", "snapshot_keep: -1")


def test_it_is_no_field_of_a_fork(tmp_path):
    solver = make(f"{tmp_path}/net", "snapshot_keep: 3 max_lr: 1")
    assert len(solver.settings.notes) == 1 and "max_lr belongs to a fork" in solver.settings.notes[0]
