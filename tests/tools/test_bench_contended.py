"""tools/bench_contended.py runs in each of its modes, and says what it must."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="it needs two cores, and Linux"
)

ROOT = Path(__file__).parents[2]
NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "fc" type: "InnerProduct" bottom: "conv" top: "fc" inner_product_param { num_output: 5 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "bench_contended.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    """A folder with a small net where SqueezeNet would be."""
    net = tmp_path / "nets" / "forresti+SqueezeNet" / "SqueezeNet_v1.1" / "deploy.prototxt"
    net.parent.mkdir(parents=True)
    net.write_text(NET)
    return tmp_path / "nets"


def test_passes_beside_loads_in_two_checkouts(tmp_path: Path, nets: Path) -> None:
    pytest.importorskip("onnx")
    options = ["squeezenet", "--nets", nets, "--programs", "caffelite", "before", "--before", ROOT, "--passes", "4"]
    done = run(*options, "--rounds", "2", "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    loads = ["none", "one busy", "two busy", "training"]
    programs = ["caffelite", "before"]
    assert [(row["load"], row["program"]) for row in found["rows"]] == [(a, b) for a in loads for b in programs]
    for row in found["rows"]:
        assert 0 < row["low"] <= row["ms"] <= row["high"] and row["worst"] >= 1 and row["passes"] == 4
        assert row["load"] != "none" or row["slowdown"] == 1
    assert [one["load"] for one in found["verdicts"]] == loads


@pytest.mark.parametrize(("mode", "ratio"), [("trainings", "share"), ("half", "ratio"), ("threads", "speedup")])
def test_training_steps(tmp_path: Path, mode: str, ratio: str) -> None:
    done = run(f"--{mode}", "mnist_mlp", "--rounds", "2", "--seconds", "0.05", "--json", tmp_path / "found.json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    middle, low, high = row[ratio]
    assert (row["net"], row["program"]) == ("mnist_mlp", "caffelite") and 0 < low <= middle <= high


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["squeezenet"], "--nets FOLDER has to say where squeezenet is"),
        (["lenet"], "there is no net lenet in this mode"),
        (["--threads", "--programs", "before"], "--programs before needs --before PATH"),
        (["--threads", "--before", "/proc"], "there is no package caffelite in /proc"),
    ],
)
def test_what_it_is_not_for(options: list[str], sentence: str) -> None:
    done = run(*options)
    assert done.returncode == 2 and sentence in done.stderr and "Traceback" not in done.stderr


def test_a_program_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import programs

    monkeypatch.setattr(programs, "find_spec", lambda name: None if name == "openvino" else object())
    programs.needed(["caffelite", "ONNX Runtime"])
    with pytest.raises(ValueError, match=r"not installed: OpenVINO; pip install '\.\[bench\]'"):
        programs.needed(["caffelite", "ONNX Runtime", "OpenVINO"])


def test_the_better_of_the_others_is_what_a_slowdown_is_held_against() -> None:
    import bench_contended

    rows = [
        {
            "net": "n",
            "load": load,
            "program": program,
            "slowdown": slowdown if load == "two busy" else 1.0,
            "worst": 6.0,
        }
        for load in bench_contended.LOADS
        for program, slowdown in (("caffelite", 2.0), ("ONNX Runtime", 3.0), ("OpenVINO", 1.9))
    ]
    found = {one["load"]: one for one in bench_contended.verdicts(rows)}
    assert found["two busy"]["best_program"] == "OpenVINO" and not found["two busy"]["holds"]
    assert found["one busy"]["holds"] and not found["none"]["worst_holds"]
