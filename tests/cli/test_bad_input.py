"""What people get wrong: each is one sentence with file, line and layer, and exit code 1."""

import re
from pathlib import Path

import numpy as np
import pytest

from caffelite.schema.blobs import write_blob

TEST = ["test", "-model", "net.prototxt", "-weights", "snap_iter_12.caffemodel"]
TRAIN = ["train", "-solver", "solver.prototxt"]


@pytest.fixture
def change(run_folder):
    def replace(old: str, new: str) -> int:
        """Change the net; return the line of what was changed."""
        file = Path("net.prototxt")
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        return text[: text.index(old)].count("\n") + 1

    return replace


@pytest.fixture
def refused(caffelite):
    def call(arguments: list[str], *texts: str) -> None:
        code, out, err = caffelite(*arguments)
        said = [line for line in err.splitlines() if line.startswith("caffelite: ")]
        assert (code, out) == (1, "")
        assert len(said) == 1 and said[0] == err.splitlines()[-1]
        assert "Traceback" not in err
        for text in texts:
            assert text in said[0]

    return call


@pytest.mark.parametrize("command", [TRAIN, TEST], ids=["train", "test"])
def test_a_misspelt_layer_type(command, change, refused):
    line = change('"Convolution"', '"Convoluton"')
    refused(command, f"net.prototxt:{line}:", 'layer "conv1"', '"Convoluton"; did you mean "Convolution"?')


@pytest.mark.parametrize("command", [TRAIN, TEST], ids=["train", "test"])
def test_a_missing_bottom(command, change, refused):
    line = change('bottom: "pool1"', 'bottom: "pool"')
    refused(command, f"net.prototxt:{line}:", 'layer "ip"', 'bottom "pool"', 'did you mean "pool1"?')


def test_a_shape_that_does_not_fit(change, refused):
    line = change("kernel_size: 3 pad: 1", "kernel_size: 30 pad: 1")
    refused(TRAIN, f"net.prototxt:{line}:", 'layer "conv1"', "30", "16")


def test_a_truncated_caffemodel(run_folder, refused):
    weights = Path("snap_iter_12.caffemodel")
    weights.write_bytes(weights.read_bytes()[:3000])
    refused(TEST, "snap_iter_12.caffemodel: not a whole protobuf file: at byte ", "are there")


def test_a_database_that_is_none(change, refused):
    Path("train_lmdb/data.mdb").write_bytes(b"no database" * 1000)
    line = change("train_lmdb", "train_lmdb")
    refused(TRAIN, f"net.prototxt:{line}:", 'layer "data"', "train_lmdb", "not an LMDB")


def test_a_database_that_is_missing(change, refused):
    line = change("train_lmdb", "trian_lmdb")
    refused(TRAIN, f"net.prototxt:{line}:", 'layer "data"', "trian_lmdb")


def test_a_mean_file_of_the_wrong_size(change, refused):
    write_blob(Path("mean.binaryproto"), np.zeros((1, 3, 8, 8), np.float32))
    line = change("mean_file", "mean_file")
    refused(TRAIN, f"net.prototxt:{line}:", 'layer "data"', "mean.binaryproto", "8×8", "3×16×16")


def test_a_batchnorm_that_would_learn_its_statistics(change, refused):
    line = change('top: "bn1" batch_norm_param', 'top: "bn1" param { lr_mult: 1 } batch_norm_param')
    refused(TRAIN, f"net.prototxt:{line}:", 'layer "bn1"', "lr_mult")


def test_a_misspelt_field(change, refused):
    line = change("num_output: 6", "num_outputs: 6")
    refused(TRAIN, f"net.prototxt:{line}:", 'no field "num_outputs"; did you mean "num_output"?')


def test_a_field_nobody_knows_is_a_warning(change, caffelite):
    line = change('name: "interop"', 'name: "interop" colour_scheme: 3')
    code, _, err = caffelite(*TRAIN, "-iterations", "1")
    assert code == 0
    warned = [text for text in err.splitlines() if text.startswith("caffelite: warning: ")]
    assert len(warned) == 1
    assert re.search(rf"net.prototxt:{line}:\d+: .*colour_scheme", warned[0])


def test_weights_in_place_of_a_state(run_folder, refused):
    refused([*TRAIN, "-snapshot", "snap_iter_6.caffemodel"], "snap_iter_6.caffemodel", "--weights")
