"""Example data that is missing is made before a net is built, and told in one line; ``caffelite data``."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from caffelite.cli.preparing import nets_and_solver, nets_of, prepare_data
from caffelite.words import TEST, TRAIN

NET = """
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "data/mnist_train_lmdb" batch_size: 4 backend: LMDB } }
layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TEST }
  data_param { source: "data/mnist_test_lmdb" batch_size: 5 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip" bottom: "label" top: "accuracy"
  include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""


def write_idx(file: Path, values: np.ndarray) -> None:
    header = np.array([0x800 + values.ndim, *values.shape], ">u4").tobytes()
    file.write_bytes(gzip.compress(header + values.astype(np.uint8).tobytes()))


@pytest.fixture
def originals(tmp_path, monkeypatch):
    """A handful of images in the files of MNIST, and a folder to work in."""
    folder = tmp_path / "originals"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 20), ("t10k", 10)):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (count, 28, 28)))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", rng.integers(0, 10, count))
    monkeypatch.setenv("CAFFELITE_DATA", str(folder))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    Path("net.prototxt").write_text(NET)
    return folder


def test_missing_data_is_made_and_told(originals, caffelite):
    code, out, err = caffelite("train", "net.prototxt", "--iterations", "2")
    assert code == 0
    told = [line for line in err.splitlines() if line.startswith("mnist: ")]
    assert told == [f"mnist: data/mnist_* made from the originals in {originals}, 20 training and 10 test images"]
    assert "; test: accuracy " in out and "built-in" not in out
    told = [line for line in caffelite("time", "net.prototxt", "-iterations", "1")[2].splitlines() if "mnist" in line]
    assert told == [f"mnist: using data/mnist_*, made from the originals in {originals}"]


def test_a_run_on_the_built_in_set_says_so_at_its_end(originals, caffelite, monkeypatch, tmp_path):
    caffelite("data", "mnist")
    marker = Path("data/mnist_origin.txt")
    marker.write_text("\n".join(["built-in set of drawn images", *marker.read_text().splitlines()[1:]]))
    monkeypatch.delenv("CAFFELITE_DATA")
    monkeypatch.setenv("CAFFELITE_CACHE", str(tmp_path / "cache"))
    end = "this was the built-in set: its accuracy says nothing about MNIST\n"
    assert caffelite("train", "net.prototxt", "--iterations", "1")[1].endswith(end)
    weights = ["--weights", "snapshots/net_iter_1.caffemodel"]
    assert caffelite("test", "net.prototxt", *weights)[1].endswith(end)
    assert "says nothing about MNIST" in caffelite("test", "net.prototxt", *weights, "--json")[1]


def test_data_takes_originals_from_a_folder(originals, caffelite, monkeypatch):
    monkeypatch.delenv("CAFFELITE_DATA")
    code, _, err = caffelite("data", "mnist", "--from", str(originals), "--to", "elsewhere")
    assert code == 0
    assert err.startswith("mnist: elsewhere/mnist_* made from the originals in ")
    assert Path("elsewhere/mnist_train_lmdb/data.mdb").is_file()
    code, _, err = caffelite("train", "net.prototxt", "-iterations", "1", "--data", str(originals / "none"))
    assert code == 1
    assert "is not a folder" in err


def test_databases_of_ones_own_are_left_alone(originals, caffelite):
    caffelite("data", "mnist")
    Path("data/mnist_origin.txt").unlink()
    for file in Path("data").glob("mnist_siamese*"):
        file.rename(file.with_name(f"old_{file.name}"))
    said = []
    assert prepare_data(nets_of(Path("net.prototxt"), TRAIN), None, said.append) == []
    assert said == []
    assert not list(Path("data").glob("mnist_siamese*"))


def test_only_the_phase_that_runs_is_looked_at(originals):
    Path("net.prototxt").write_text(NET.replace("data/mnist_train_lmdb", "my_own_lmdb"))
    assert prepare_data(nets_of(Path("net.prototxt"), TRAIN), None, print) == []
    assert [data.name for data in prepare_data(nets_of(Path("net.prototxt"), TEST), None, print)] == ["mnist"]


def test_the_solver_of_another_net_is_not_this_nets(originals):
    solver = Path("net_solver.prototxt")
    for text, used in (("other", False), ("far/other", False), ("net", True), ("far/net", True)):
        solver.write_text(f'net: "{text}.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1')
        train, _, found = nets_and_solver(Path("net.prototxt"))
        assert train.document.filename == "net.prototxt"
        assert (found is not None) == used
