"""``caffelite train`` goes on with a run, or begins with weights: what is said, and what is refused."""

import re
import shutil
from pathlib import Path

import pytest

STATES = ["snap_iter_6.solverstate", "snap_iter_12.solverstate"]
STATE_14 = "snap_iter_14.solverstate"


@pytest.fixture
def trained(caffelite, run_folder):
    """Files of caffelite's own in place of Caffe's."""
    assert caffelite("train", "solver.prototxt")[0] == 0
    return run_folder


def renamed(old: str = '"ip"', new: str = '"ip_new"') -> None:
    net = Path("net.prototxt")
    net.write_text(net.read_text().replace(f"name: {old}", f"name: {new}"))


def table(err: str, begin: str) -> list[list[str]]:
    """Return the cells of the table whose first line begins so, of lines with or without what a log puts before."""
    lines = [line.partition("] ")[2] if re.match(r"W\d{4} ", line) else line for line in err.splitlines()]
    rows = [re.split("  +", line.strip()) for line in lines]
    first = next(i for i, row in enumerate(rows) if row[0] == "layer" and begin in row)
    return rows[first:]


@pytest.mark.parametrize("option", ["--resume", "-resume", "--snapshot", "-snapshot"])
def test_auto_goes_on_from_the_newest(caffelite, trained, option):
    code, out, err = caffelite("train", "solver.prototxt", option, "auto", "--iterations", "14")
    assert code == 0 and out.startswith("interop: iteration 14; 2 in ")
    assert err.startswith("going on from snap_iter_12.solverstate\n")


def test_auto_skips_what_is_broken(caffelite, trained):
    whole = Path("snap_iter_12.caffemodel").read_bytes()
    Path("snap_iter_12.caffemodel").write_bytes(whole[:-1])
    code, out, err = caffelite("train", "solver.prototxt", "--resume", "auto")
    assert code == 0 and out.startswith("interop: iteration 12; 6 in ")
    lines = err.splitlines()
    assert lines[0] == (
        "snap_iter_12.solverstate: snap_iter_12.caffemodel are not the weights that were written with it; it is skipped"
    )
    assert lines[1] == "going on from snap_iter_6.solverstate"
    assert Path("snap_iter_12.caffemodel").read_bytes() == whole


def test_auto_begins_anew_where_there_is_none(caffelite, run_folder):
    for state in STATES:
        Path(state).unlink()
    code, out, err = caffelite(
        "train", "solver.prototxt", "--resume=auto", "--weights", "snap_iter_6.caffemodel", "--iterations", "2"
    )
    assert code == 0 and out.startswith("interop: iteration 2; 2 in ")
    assert err.startswith("there is no whole snapshot snap_iter_N to go on from: training begins anew\n")
    assert "snap_iter_6.caffemodel: weights of " in err
    code, _, err = caffelite(
        "train", "solver.prototxt", "--resume=auto", "--weights", "snap_iter_6.caffemodel", "--iterations", "4"
    )
    assert code == 0 and err.startswith("going on from snap_iter_2.solverstate\n")
    assert "snap_iter_6.caffemodel: weights of " not in err


def test_auto_goes_on_from_caffes_own(caffelite, run_folder):
    code, out, err = caffelite("train", "solver.prototxt", "--resume", "auto", "--iterations", "13")
    assert code == 0 and out.startswith("interop: iteration 13; 1 in ")


def test_another_net_is_refused(caffelite, trained):
    renamed()
    code, out, err = caffelite("train", "solver.prototxt", "--snapshot", STATES[0])
    assert (code, out) == (1, "")
    lines = err.splitlines()
    assert lines[-4] == (
        f"caffelite: {STATES[0]}: it was written for another net; --allow-changed goes on all the same, and what does "
        "not fit begins untrained"
    )
    assert [row[:2] for row in table(err, "as it was")[1:]] == [["ip", "is no longer there"], ["ip_new", "is new"]]


def test_another_net_is_gone_on_with_where_that_is_allowed(caffelite, trained):
    renamed()
    code, out, err = caffelite("train", "solver.prototxt", "--resume", "auto", "--allow-changed", "--iterations", "13")
    assert code == 0
    assert "; ip_new began untrained; weights in snap_iter_13.caffemodel" in out and out.count("\n") == 1
    assert f"{STATES[1]}: going on although something is not as it was" in err
    assert table(err, "as it was")[2][:2] == ["ip_new", "is new"]


def test_other_weights_are_told_too(caffelite, trained):
    shutil.copy("snap_iter_6.caffemodel", "snap_iter_12.caffemodel")
    state = ["--snapshot", STATES[1], "--iterations", "13"]
    code, out, err = caffelite("train", "solver.prototxt", *state)
    assert (code, out) == (1, "") and "it was written with other weights; --allow-changed" in err
    code, out, _ = caffelite("train", "solver.prototxt", *state, "--allow-changed")
    assert code == 0 and "; nothing began untrained; weights in " in out


def test_another_solver(caffelite, trained):
    solver = Path("solver.prototxt")
    solver.write_text(solver.read_text() + ' type: "Nesterov"')
    code, _, err = caffelite("train", "solver.prototxt", "--snapshot", STATES[1])
    assert code == 1 and 'it was written by solver type "SGD"; ' in err
    code, out, _ = caffelite("train", "solver.prototxt", "--resume", STATES[1], "--allow-changed", "--iterations", "13")
    assert code == 0 and "; nothing began untrained, the history of Nesterov began anew; " in out


def test_an_unchanged_run_has_nothing_to_tell(caffelite, trained):
    _, out, err = caffelite("train", "solver.prototxt", "--snapshot", STATES[0], "--allow-changed")
    assert "untrained" not in out and "as it was" not in err


def test_weights_of_another_net(caffelite, trained):
    renamed()
    begin = ["train", "solver.prototxt", "--iterations", "1", "--weights", "snap_iter_12.caffemodel"]
    _, out, err = caffelite(*begin)
    assert "; ip_new began untrained; weights in " in out
    rows = table(err, "in the file")
    assert [row[1] for row in rows if row[0] in ("conv1", "ip", "ip_new")] == [
        "taken",
        "in the file only",
        "in the net only",
    ]
    _, out, err = caffelite(*begin, "--map", "ip:ip_new")
    assert "untrained" not in out
    assert next(row for row in table(err, "in the file") if row[0] == "ip_new")[1] == "taken from ip"


def test_layers_of_another_shape(caffelite, trained):
    net = Path("net.prototxt")
    net.write_text(net.read_text().replace("num_output: 4", "num_output: 5"))
    begin = ["train", "solver.prototxt", "--iterations", "1", "--weights", "snap_iter_12.caffemodel"]
    code, _, err = caffelite(*begin)
    assert code == 1 and "or give --skip-mismatch" in err
    code, out, err = caffelite(*begin, "--skip-mismatch")
    assert code == 0 and "; ip began untrained; weights in " in out
    assert next(row for row in table(err, "in the file") if row[0] == "ip")[1] == "shape differs, left as it is"


def test_a_test_takes_weights_of_other_names(caffelite, trained):
    measured = caffelite("test", "net.prototxt", "--weights", "snap_iter_12.caffemodel")[1]
    renamed()
    code, out, err = caffelite("test", "net.prototxt", "--weights", "snap_iter_12.caffemodel", "--map", "ip:ip_new")
    assert code == 0 and out == measured
    assert "taken from ip" in err


def test_keep(caffelite, run_folder):
    for name in [*STATES, *(state.replace("solverstate", "caffemodel") for state in STATES)]:
        Path(name).unlink()
    solver = Path("solver.prototxt")
    solver.write_text(solver.read_text().replace("snapshot: 6", "snapshot: 2 snapshot_keep: 3"))
    caffelite("train", "solver.prototxt")
    assert sorted(file.name for file in Path().glob("*.solverstate")) == [
        "snap_iter_10.solverstate",
        "snap_iter_12.solverstate",
        "snap_iter_8.solverstate",
    ]
    caffelite("train", "solver.prototxt", "--resume", "auto", "--iterations", "14", "--keep", "1")
    assert sorted(file.name for file in Path().glob("snap_iter_*.*")) == ["snap_iter_14.caffemodel", STATE_14]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--snapshot", "a", "--map", "a:b"], 1, "not both"),
        (["--allow-changed"], 1, "--allow-changed is for going on with a run: give --snapshot too"),
        (["--map", "a:b"], 1, "--map is for the layers of one weights file, --weights has none"),
        (["--weights", "a,b", "--map", "a:b"], 1, "--map is for the layers of one weights file, --weights has 2"),
        (["--weights", "a", "--map", "a:b", "--map", "a:c"], 1, '--map sends the layer "a" to two layers, "b" and "c"'),
        (["--skip-mismatch"], 1, "--skip-mismatch is for weights, give them with --weights"),
        (["--map", "ab"], 2, '"ab" is not OLD:NEW, two names of layers with a colon between'),
        (["--map", "a:b:c"], 2, '"a:b:c" is not OLD:NEW'),
        (["--keep", "0"], 2, "0 is not 1 or more"),
        (["--resume", "missing.solverstate"], 1, "missing.solverstate: No such file or directory"),
        (
            ["--weights", "snap_iter_12.caffemodel", "--map", "ipp:ip"],
            1,
            'no weights of a layer "ipp", which is to go to "ip"; did you',
        ),
    ],
)
def test_options_that_do_not_go_together(caffelite, run_folder, arguments, code, text):
    done, out, err = caffelite("train", "solver.prototxt", *arguments)
    assert (done, out) == (code, "")
    assert text in err.splitlines()[-1]
