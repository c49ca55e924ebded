"""The commands do what their help says, on the small run that BVLC Caffe left."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import caffelite as package
from caffelite.data import datasets
from caffelite.schema.weights import read_weights

Run = Callable[..., tuple[int, str, str]]
NET = ["net.prototxt", "--weights", "snap_iter_12.caffemodel"]


def losses(log: str) -> list[float]:
    """The losses of a log, found as the tools find them that read Caffe's logs."""
    return [float(x) for x in re.findall(r"\] Iteration \d+ \(.* iters\), loss = ([-+.\deE]+)", log)]


def test_train_writes_a_log_in_caffes_format(caffelite: Run, run_folder: Path) -> None:
    code, out, err = caffelite("train", "solver.prototxt")
    assert (code, out) == (0, "")
    found = losses(err)
    assert len(found) == 12
    assert found[-1] < 0.1 * found[0]
    expected = (run_folder / "train.log").read_text()
    for pattern in (r"\] Iteration 4, Testing net \(#0\)", r"\]     Test net output #0: accuracy = 1\n",
                    r"\]     Train net output #0: loss = \S+ \(\* 1 = \S+ loss\)", r"\] Iteration 3, lr = 0.0195615\n",
                    r"\] Snapshotting to binary proto file snap_iter_6.caffemodel\n", r"\] Optimization Done.\n"):  # fmt: skip
        assert re.search(pattern, err), pattern
        assert re.search(pattern, expected), pattern
    assert re.search(r"caffelite: trained 12 iterations; weights: snap_iter_12.caffemodel; test: accuracy 1", err)
    assert {"conv1", "bn1", "ip"} <= {layer.name for layer in read_weights("snap_iter_12.caffemodel")}


def test_going_on_from_caffes_snapshot_is_as_in_caffe(caffelite: Run, run_folder: Path) -> None:
    code, _, err = caffelite("train", "-solver", "solver.prototxt", "-snapshot=snap_iter_6.solverstate")
    assert code == 0
    expected = losses((run_folder / "resume.log").read_text())
    np.testing.assert_allclose(losses(err), expected, rtol=2e-2, atol=1e-5)


def test_test_agrees_with_caffe(caffelite: Run, run_folder: Path) -> None:
    code, out, _ = caffelite(
        "test", "-model", "net.prototxt", "-weights", "snap_iter_12.caffemodel", "-iterations", "2"
    )
    assert code == 0
    assert "accuracy = 1\n" in out
    # The losses are a part in a million: sums of single roundings.
    assert float(re.findall(r"Loss: (\S+)", out)[0]) == pytest.approx(2.7021e-06, rel=0.05)
    every = json.loads(caffelite("test", *NET, "--json")[1])
    assert every["iterations"] == 2
    assert every["outputs"]["accuracy"] == 1
    stored = json.loads(caffelite("test", *NET, "--stats", "global", "--json")[1])
    batch = json.loads(caffelite("test", *NET, "--stats", "batch", "--json")[1])
    assert stored["outputs"] == every["outputs"] != batch["outputs"]
    assert json.loads(caffelite("test", "solver.prototxt", *NET[1:], "--json")[1])["outputs"] == every["outputs"]


def test_a_net_is_trained_with_the_solver_beside_it_or_with_defaults(caffelite: Run, run_folder: Path) -> None:
    _, _, err = caffelite("train", "net.prototxt", "--iterations", "2")
    assert "net.prototxt is a net without net_solver.prototxt beside it; training it with the defaults" in err
    assert Path("snapshots/net_iter_2.caffemodel").exists()
    Path("solver.prototxt").rename("net_solver.prototxt")
    _, _, err = caffelite("train", "net.prototxt", "--iterations", "1", "--seed", "4")
    assert "net.prototxt is a net; training it with net_solver.prototxt" in err
    assert Path("snap_iter_1.solverstate").exists()


def test_a_seed_gives_the_same_bits(caffelite: Run, run_folder: Path) -> None:
    kept = []
    for seed in ("5", "5", "6"):
        caffelite("train", "solver.prototxt", "--iterations", "3", "--seed", seed)
        kept.append(Path("snap_iter_3.caffemodel").read_bytes())
    assert kept[0] == kept[1] != kept[2]


def test_starting_from_weights(caffelite: Run, run_folder: Path) -> None:
    _, _, err = caffelite("train", "solver.prototxt", "--weights", "snap_iter_12.caffemodel", "--iterations", "1")
    assert "snap_iter_12.caffemodel: 3 layers taken" in err
    assert losses(err)[0] < 1e-3
    code, _, err = caffelite("train", "solver.prototxt", "--weights", "a", "--snapshot", "b")
    assert code == 1
    assert "not both" in err


def test_ctrl_c_ends_with_a_snapshot_from_which_the_run_goes_on(
    python: Callable[..., object], caffelite: Run, run_folder: Path
) -> None:
    text = Path("solver.prototxt").read_text()
    text = (
        text.replace("max_iter: 12", "max_iter: 1000000")
        .replace("snapshot: 6", "snapshot: 0")
        .replace("display: 1", "display: 50")
    )
    Path("long.prototxt").write_text(text.replace("test_interval: 4", "test_interval: 1000"))
    process: object = python("-m", "caffelite", "train", "long.prototxt")
    for line in process.stderr:  # type: ignore[attr-defined]
        if "Iteration 100 " in line:
            break
    process.send_signal(signal.SIGINT)  # type: ignore[attr-defined]
    _, err = process.communicate(timeout=60)  # type: ignore[attr-defined]
    assert process.returncode == 0, err  # type: ignore[attr-defined]
    done = int(re.findall(r"stopped after (\d+) iterations", err)[0])
    assert done >= 100
    assert Path(f"snap_iter_{done}.solverstate").exists()
    code, _, err = caffelite("train", "long.prototxt", "--snapshot", f"snap_iter_{done}.solverstate", "--iterations",
                             str(done + 2))  # fmt: skip
    assert code == 0
    assert f"trained {done + 2} iterations" in err


def test_time(caffelite: Run, run_folder: Path) -> None:
    code, out, _ = caffelite("time", "net.prototxt", "--iterations", "2")
    assert code == 0
    for name in ("data", "conv1", "bn1", "relu1", "pool1", "ip", "loss"):
        assert re.search(rf"^{name} .* ms .* ms .*%$", out, re.MULTILINE), name
    assert "waited for data" in out
    found = json.loads(caffelite("time", "net.prototxt", "--iterations", "2", "--phase", "TEST", "--json")[1])
    assert [layer["name"] for layer in found["layers"]][-2:] == ["accuracy", "loss"]
    assert found["backward_ms"] < 0.1


def test_draw(caffelite: Run, run_folder: Path) -> None:
    code, _, err = caffelite("draw", "net.prototxt", "net.md")
    assert code == 0
    assert "8 layers" in err or "10 layers" in err
    assert "flowchart" in Path("net.md").read_text()
    code, _, err = caffelite("draw", "net.prototxt", "net.gif")
    assert (code, err) == (1, "caffelite: net.gif: the name of a diagram ends in .svg, .png, .pdf, .dot or .md\n")


def test_data_is_made_where_it_is_missing(caffelite: Run, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object) -> None:
        raise datasets.DataError("there is no network")

    monkeypatch.setattr(datasets, "download", unreachable)
    monkeypatch.setattr(datasets, "cache_folder", lambda name: run_folder / "no cache")
    small = datasets.DATASETS["mnist"]
    splits = {
        kind: list(_few(chunks)) for kind, chunks in (("train", small.builtin.train), ("test", small.builtin.test))
    }
    monkeypatch.setitem(datasets.DATASETS, "mnist", _with(small, splits))
    net = Path("net.prototxt").read_text().replace('"train_lmdb"', '"data/mnist_train_lmdb"')
    Path("net.prototxt").write_text(
        net.replace('mean_file: "mean.binaryproto"', "").replace("num_output: 4", "num_output: 10")
    )
    code, _, err = caffelite("train", "solver.prototxt", "--iterations", "1")
    assert code == 0, err
    assert Path("data/mnist_train_lmdb/data.mdb").exists()
    assert err.splitlines()[-1].startswith(
        "caffelite: this was the built-in set: its accuracy says nothing about MNIST"
    )


def _few(chunks):
    for images, labels in chunks() if callable(chunks) else chunks:
        yield images[:64], labels[:64]
        return


def _with(data, splits):
    from dataclasses import replace

    kind = type(data.builtin)
    return replace(data, builtin=kind(**{
        name: (lambda chunks=chunks: iter(chunks)) if callable(getattr(data.builtin, name)) else chunks
        for name, chunks in splits.items()
    }))  # fmt: skip


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    from caffelite.cli import main

    for arguments in (
        ["--version"],
        ["--help"],
        *[[name, "--help"] for name in ("train", "test", "time", "draw", "data")],
    ):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 0
        said = capsys.readouterr().out
        assert said
        if len(arguments) == 2:
            assert "examples:\n  caffelite" in said
        elif arguments == ["--version"]:
            assert said == f"caffelite {package.__version__}\n"


def test_the_command_is_quick_to_answer(python: Callable[..., object], run_folder: Path) -> None:
    process: object = python("-X", "importtime", "-m", "caffelite", "--help")
    out, err = process.communicate(timeout=60)  # type: ignore[attr-defined]
    assert "train" in out
    assert "numba" not in err, "nothing heavy is imported for --help"


def test_a_reader_that_goes_away(python: Callable[..., object], run_folder: Path) -> None:
    process: object = python("-m", "caffelite", "time", "net.prototxt", "--iterations", "1")
    process.stdout.close()  # type: ignore[attr-defined]
    time.sleep(0)
    err = process.stderr.read()  # type: ignore[attr-defined]
    process.wait(timeout=60)  # type: ignore[attr-defined]
    assert "Traceback" not in err
    assert os.path.exists("net.prototxt")
