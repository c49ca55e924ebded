"""``caffelite bn show``: the stored statistics beside those of the data."""

import builtins
import json

import numpy as np
import pytest

from caffelite.cli.bn_show import draw
from caffelite.layers.shared.normalizing import Statistics
from caffelite.net import Net
from caffelite.words import TEST

COMMAND = ["bn", "show", "solver.prototxt", "--weights", "snap_iter_12.caffemodel"]


def test_table_and_json(caffelite, run_folder):
    code, out, _ = caffelite(*COMMAND)
    assert code == 0 and "bn1" in out and "std.dev" in out
    (row,) = json.loads(caffelite(*COMMAND, "--iterations", "2", "--json")[1])
    net = Net("net.prototxt", TEST, weights="snap_iter_12.caffemodel")
    mean, variance, factor = (blob.data for blob in net.params["bn1"])
    net.close()
    np.testing.assert_allclose(row["mean"], mean / factor, rtol=1e-6)
    np.testing.assert_allclose(row["variance"], variance / factor, rtol=1e-6)
    assert row["layer"] == "bn1" and len(row["measured_mean"]) == len(mean)
    assert row["variance_ratio"] > 0 and 0 <= row["worst_channel"] < len(mean)


def test_json_of_what_is_not_a_number(caffelite, run_folder):
    net = Net("net.prototxt", TEST, weights="snap_iter_12.caffemodel")
    net.params["bn1"][0].data[0] = np.nan
    net.params["bn1"][1].data[0] = np.inf
    net.save("nan.caffemodel")
    net.close()
    (row,) = json.loads(caffelite(*COMMAND[:-1], "nan.caffemodel", "--json")[1], parse_constant=pytest.fail)
    assert row["mean"][0] is row["variance"][0] is None
    assert None not in row["mean"][1:] + row["variance"][1:] + row["measured_mean"]


@pytest.mark.parametrize(("end", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_plot(end, start, caffelite, run_folder):
    pytest.importorskip("matplotlib")
    assert caffelite(*COMMAND, "--plot", f"s.{end}")[0] == 0
    assert (run_folder / f"s.{end}").read_bytes().startswith(start)


def test_a_name_is_no_formula(tmp_path):
    pytest.importorskip("matplotlib")
    values = Statistics(np.zeros(2), np.ones(2), None, "")
    draw({r"$\frac{a}$": values}, {}, tmp_path / "s.svg")
    assert (tmp_path / "s.svg").is_file()


def test_without_matplotlib(caffelite, run_folder, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    code, out, err = caffelite(*COMMAND, "--plot", "s.png")
    assert (code, out) == (1, "") and "plots need matplotlib: pip install 'caffelite[plot]'" in err


def test_a_net_without_data_shows_what_is_stored(caffelite, run_folder):
    net = (run_folder / "net.prototxt").read_text()
    body = "\n".join(line for line in net.splitlines() if '"Data"' not in line and "label" not in line)
    (run_folder / "deploy.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 10 dim: 10 } } }\n'
        + body
    )
    code, out, err = caffelite("bn", "show", "deploy.prototxt", "--weights", "snap_iter_12.caffemodel")
    assert code == 0 and "bn1" in out and "std.dev" not in out
    assert "the stored values alone are shown: deploy.prototxt has no layer that reads data" in err


def test_refused(caffelite, run_folder):
    (run_folder / "none.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } }'
    )
    for arguments, expected in (
        ([*COMMAND, "--plot", "s.gif"], "s.gif: a plot is .svg, .png or .pdf"),
        ([*COMMAND[:-1], "none.caffemodel"], "none.caffemodel: No such file"),
        (["bn", "show", "none.prototxt", *COMMAND[3:]], "none of its"),
    ):
        code, out, err = caffelite(*arguments)
        assert (code, out) == (1, "") and expected in err and "Traceback" not in err
