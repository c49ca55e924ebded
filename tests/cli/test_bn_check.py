"""``caffelite bn check``: exit code, lines and JSON."""

import json
from pathlib import Path

import pytest

MODELS = sorted(
    path for path in (Path(__file__).parents[2] / "models").glob("*.prototxt") if not path.stem.endswith("_solver")
)


@pytest.mark.parametrize("net", MODELS, ids=lambda path: path.stem)
def test_nothing_is_found_in_the_example_nets(net, caffelite):
    code, out, _ = caffelite("bn", "check", str(net))
    assert (code, out.endswith("nothing found\n")) == (0, True)


def broken(folder):
    """Let BatchNorm take stored statistics in TRAIN; return the line."""
    net = (folder / "net.prototxt").read_text()
    (folder / "net.prototxt").write_text(net.replace("use_global_stats: false", "use_global_stats: true", 1))
    return next(i for i, text in enumerate(net.splitlines(), 1) if "use_global_stats: false" in text)


def test_findings_have_a_place_and_a_cure(caffelite, run_folder):
    code, out, _ = caffelite("bn", "check", "solver.prototxt")
    assert code == 1 and "[stored-statistics-in-train]" not in out
    line = broken(run_folder)
    code, out, _ = caffelite("bn", "check", "solver.prototxt")
    assert code == 1
    (found,) = [text for text in out.splitlines() if "[stored-statistics-in-train]" in text]
    assert found.startswith(f"net.prototxt:{line}:") and "to mend it: leave use_global_stats out" in out


def test_json(caffelite, run_folder):
    line = broken(run_folder)
    code, out, _ = caffelite("bn", "check", "solver.prototxt", "--json")
    (first,) = [row for row in json.loads(out)["findings"] if row["rule"] == "stored-statistics-in-train"]
    assert code == 1 and (first["file"], first["line"]) == ("net.prototxt", line)
    code, out, _ = caffelite("bn", "check", "solver.prototxt", "--json", "--weights", "snap_iter_12.caffemodel")
    rules = {row["rule"] for row in json.loads(out)["findings"]}
    assert code == 1 and "stored-statistics-in-train" not in rules  # it goes on from these


def test_bad_input(caffelite, run_folder):
    for arguments, expected in (
        (["none.prototxt"], "none.prototxt: No such file"),
        (["solver.prototxt", "--weights", "none.caffemodel"], "none.caffemodel: No such file"),
    ):
        code, out, err = caffelite("bn", "check", *arguments)
        assert (code, out) == (1, "") and expected in err and "Traceback" not in err
