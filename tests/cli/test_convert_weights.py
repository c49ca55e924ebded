"""``caffelite convert``: weights alone, to other files and back."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from caffelite.schema.weights import read_weights

WEIGHTS = "snap_iter_12.caffemodel"


def blobs(file: str) -> dict[str, list[np.ndarray]]:
    return {layer.name: [blob.copy() for blob in layer.blobs] for layer in read_weights(file) if layer.blobs}


def same(ours: dict[str, list[np.ndarray]], theirs: dict[str, list[np.ndarray]]) -> bool:
    return list(ours) == list(theirs) and all(
        len(ours[name]) == len(theirs[name])
        and all(np.array_equal(a, b) and a.shape == b.shape for a, b in zip(ours[name], theirs[name], strict=True))
        for name in ours
    )


@pytest.mark.parametrize("ending", [".npz", ".safetensors", ".h5"])
def test_there_and_back(caffelite, run_folder, ending):
    if ending == ".safetensors":
        pytest.importorskip("safetensors")
    code, out, err = caffelite("convert", WEIGHTS, f"net{ending}")
    assert (code, err) == (0, "") and out.startswith(f"net{ending}: 1,7")
    code, out, err = caffelite("convert", f"net{ending}", "back.caffemodel")
    assert (code, err) == (0, "") and "there is no net in it" in out
    ours, theirs = blobs("back.caffemodel"), blobs(WEIGHTS)
    # HDF5 has them by name.
    assert same({name: ours[name] for name in theirs}, theirs) and len(ours) == len(theirs)


def test_numpy_reads_them(caffelite, run_folder):
    assert caffelite("convert", WEIGHTS, "net.npz")[0] == 0
    with np.load("net.npz") as file:
        names = set(file.files)
        assert {"conv1/0", "bn1/2"} <= names and file["conv1/0"].dtype == np.float32


def test_back_with_its_net(caffelite, run_folder):
    assert caffelite("convert", WEIGHTS, "net.npz")[0] == 0
    code, out, err = caffelite("convert", "net.npz", "back.caffemodel", "--net", "net.prototxt", "--json")
    assert (code, err) == (0, "") and json.loads(out)["left"] == []
    assert same(blobs("back.caffemodel"), blobs(WEIGHTS))
    assert {layer.name: layer.type for layer in read_weights("back.caffemodel")}["conv1"] == "Convolution"


def save(**arrays: np.ndarray) -> None:
    np.savez("bad.npz", **{name.replace("__", "/"): values for name, values in arrays.items()})


ONE = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"conv": ONE}, 'bad.npz: "conv" is not LAYER/NUMBER'),
        ({"a__1": ONE}, 'layer "a": blob 0 is missing'),
        ({"a__0": np.ones(2, np.int32)}, '"a/0" has numbers of type int32, expected float32'),
        ({"a__0": np.array(["x"])}, '"a/0" is of type <U1, and not of numbers'),
        ({"a__0": np.array([{}], object)}, "a pickle, which is never opened"),
    ],
)
def test_what_is_not_taken(caffelite, run_folder, arrays, said):
    save(**arrays)
    code, out, err = caffelite("convert", "bad.npz", "out.caffemodel")
    assert (code, out) == (1, "") and said in err and len(err.splitlines()) == 1
    assert not Path("out.caffemodel").exists()


def test_more_is_announced_than_is_there(caffelite, run_folder):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000), }\n"
    with zipfile.ZipFile("bad.npz", "w") as archive:
        archive.writestr("a/0.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"1234")
    code, _, err = caffelite("convert", "bad.npz", "out.caffemodel")
    assert code == 1 and '"a/0" has another size than its header says' in err


def test_what_unpacks_to_far_more(caffelite, run_folder):
    with zipfile.ZipFile("bad.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.npy", b"\x93NUMPY\x01\x00" + b"\x10\x00" + b"{")
        archive.infolist()[0].file_size = 1 << 40
    code, _, err = caffelite("convert", "bad.npz", "out.caffemodel")
    assert code == 1 and "its arrays take 1,099,511,627,776 bytes, and at most " in err


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x08\0\0\0\0\0\0\0{}      "])
def test_what_is_no_file_of_weights(caffelite, run_folder, content):
    Path("bad.npz").write_bytes(content)
    code, _, err = caffelite("convert", "bad.npz", "out.caffemodel")
    assert code == 1 and "bad.npz: its arrays cannot be read" in err


def test_numbers_that_numpy_has_not(caffelite, run_folder):
    pytest.importorskip("safetensors")
    header = b'{"a.0": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}'
    Path("bad.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    code, _, err = caffelite("convert", "bad.safetensors", "out.caffemodel")
    # NumPy knows the type where a package that adds it has been imported.
    assert code == 1 and "bad.safetensors: " in err and "bfloat16" in err and "expected float32" in err


def test_a_broken_safetensors_file(caffelite, run_folder):
    pytest.importorskip("safetensors")
    Path("bad.safetensors").write_bytes(b"\xff" * 20)
    code, _, err = caffelite("convert", "bad.safetensors", "out.caffemodel")
    assert code == 1 and "bad.safetensors: not a whole .safetensors file" in err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["net.prototxt", "out.npz"], "out.npz has weights alone"),
        ([WEIGHTS, "out.npz", "--net", "net.prototxt"], "--net goes with a .caffemodel"),
        (["missing.npz", "out.caffemodel"], "missing.npz"),
        ([WEIGHTS, WEIGHTS], "is what is read"),
        ([WEIGHTS, "out.npz", "--stage", "deploy"], "--stage is for the net that --net gives, and there is none"),
        ([WEIGHTS, "out.caffemodel", "--input", "data=1,3,16,16"], "--input is for the net that --net gives"),
    ],
)
def test_usage(caffelite, run_folder, command, said):
    code, _, err = caffelite("convert", *command)
    assert code != 0 and said in err and "Traceback" not in err


def test_weights_of_another_net(caffelite, run_folder):
    save(conv1__0=ONE)
    code, _, err = caffelite("convert", "bad.npz", "out.caffemodel", "--net", "net.prototxt")
    assert code == 1 and "bad.npz" in err and "conv1" in err and not Path("out.caffemodel").exists()


def test_options_of_other_outputs(caffelite, run_folder):
    for options, said in ((["--opset", "12"], "--opset is for .onnx"), (["--keep-bn"], "--keep-bn is for .onnx")):
        code, out, err = caffelite("convert", WEIGHTS, "net.npz", *options)
        assert (code, out) == (1, "") and f"{said}, net.npz takes no such option" in err
    assert not Path("net.npz").exists()


def test_what_a_module_has_learned(caffelite, run_folder):
    """The state of a PyTorch module, by its own names: blobs are called so where nothing was changed on the way."""
    ours = blobs(WEIGHTS)
    state = {
        f"{name}.{key}": blob
        for name, layer in ours.items()
        if name != "bn1"
        for key, blob in zip(("weight", "bias"), layer, strict=False)
    }
    factor = ours["bn1"][2][0]
    state |= {"bn1.running_mean": ours["bn1"][0] / factor, "bn1.running_var": ours["bn1"][1] / factor}
    state["bn1.num_batches_tracked"] = np.array(7)
    np.savez("learned.npz", **state)
    command = ["convert", "learned.npz", "back.caffemodel", "--shape", "data:1,3,16,16"]
    code, out, err = caffelite(*command, "--net", "net.prototxt")
    assert (code, err) == (0, "") and out.startswith("back.caffemodel: 1,7")
    back = blobs("back.caffemodel")
    assert back["bn1"][2] == 1 and np.allclose(back["bn1"][1] * factor, ours["bn1"][1], rtol=1e-6)
    assert all(same({name: back[name]}, {name: ours[name]}) for name in ours if name != "bn1")
    Path("back.caffemodel").unlink()
    np.savez("learned.npz", **{"conv1.wieght" if name == "conv1.weight" else name: a for name, a in state.items()})
    code, out, err = caffelite(*command, "--net", "net.prototxt")
    assert (code, out) == (1, "") and 'has no "conv1.wieght"; did you mean "conv1.weight"?' in err
    code, out, err = caffelite(*command[:3])
    assert (code, out) == (1, "") and "goes into a .caffemodel with --net" in err
    assert not Path("back.caffemodel").exists()
