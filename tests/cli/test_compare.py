"""``caffelite compare``: each cause that it knows is made, and must be told in both directions; and what it refuses."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

from caffelite.batchnorm.fold import fold
from caffelite.net import Net
from caffelite.schema.printer import write_text
from caffelite.words import TEST

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 8 dim: 8 } } }\n'
CONV = """layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 pad: 1 weight_filler { type: "gaussian" std: 0.3 } } }
"""
BN = """layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" }
layer { name: "scale1" type: "Scale" bottom: "bn1" top: "scale1" scale_param { bias_term: true } }
"""
RELU = 'layer { name: "relu1" type: "ReLU" bottom: "scale1" top: "scale1" }\n'
POOL = """layer { name: "pool1" type: "Pooling" bottom: "scale1" top: "pool1" pooling_param { kernel_size: 3 stride: 2 } }
layer { name: "pool2" type: "Pooling" bottom: "pool1" top: "pool2"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
"""
END = """layer { name: "ip" type: "InnerProduct" bottom: "pool2" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.3 } } }
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" }
"""
NET = DATA + CONV + BN + RELU + POOL + END


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net with its weights."""
    folder = tmp_path_factory.mktemp("compare")
    (folder / "a.prototxt").write_text(NET)
    net = Net(folder / "a.prototxt", TEST, learn=False, seed=3)
    rng = np.random.default_rng(4)
    mean, variance, factor = (blob.data for blob in net.params["bn1"])
    mean[...], variance[...], factor[...] = rng.normal(size=4) * 90, rng.uniform(0.002, 2, 4) * 90, 90
    for blob in net.params["scale1"]:
        blob.data[...] = rng.normal(size=4) + 1
    net.save(folder / "w.caffemodel")
    factor[...] = 1
    net.save(folder / "lost.caffemodel")
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def first(out: str) -> dict:
    return json.loads(out)["first"]


CAUSES = {
    "eps": (BN, BN.replace('top: "bn1" }', 'top: "bn1" batch_norm_param { eps: 0.001 } }'), "bn1", "eps 0.001 in"),
    "pooling": (POOL + END, POOL.replace("stride: 2 }", "stride: 2 round_mode: FLOOR }"), "pool1", "rounding down"),
    "divisor": ("pad: 1 } }\n" + END, "pad: 1 avg_include_pad: false } }\n" + END, "pool2", "the map alone"),
    "missing": (
        BN + RELU + POOL,
        'layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" }\n'
        + RELU.replace('bottom: "scale1"', 'bottom: "bn1"')
        + POOL,
        "scale1",
        '"scale1" (Scale) left out',
    ),
    "order": (
        BN + RELU,
        """layer { name: "bn1" type: "BatchNorm" bottom: "conv1" top: "bn1" }
layer { name: "relu1" type: "ReLU" bottom: "bn1" top: "between" }
layer { name: "scale1" type: "Scale" bottom: "between" top: "scale1" scale_param { bias_term: true } }
""",
        "scale1",
        '"relu1" (ReLU) before "scale1" (Scale)',
    ),
}


@pytest.mark.parametrize("kind", CAUSES)
def test_a_net_that_is_another(kind, caffelite, folder):
    old, new, blob, said = CAUSES[kind]
    assert old in NET and old != new
    Path("b.prototxt").write_text(NET.replace(old, new))
    assert caffelite("compare", "b.prototxt", "--weights", "w.caffemodel", "--save-blobs", "b.npz")[0] == 0
    for sides in (["a.prototxt", "b.npz"], ["b.npz", "a.prototxt"], ["a.prototxt", "b.prototxt"]):
        code, out, err = caffelite("compare", *sides, "--weights", "w.caffemodel", "--json")
        told = first(out)
        assert (code, err, told["a"]) == (1, "", blob)
        cause = told["causes"][0]
        assert (cause["kind"], cause["proven"]) == (kind, True) and said in cause["text"]
        other = next(side for side in sides if side != "a.prototxt")
        assert cause["text"].startswith(f"{other} is what a.prototxt computes with ")


def test_of_usual_values_of_eps_the_best_is_told(caffelite, folder):
    for name, eps in (("a", "0.01"), ("b", "0.000001")):
        Path(f"{name}.prototxt").write_text(NET.replace(*CAUSES["eps"][:2]).replace("eps: 0.001", f"eps: {eps}"))
    caffelite("compare", "b.prototxt:w.caffemodel", "--save-blobs", "b.npz")
    code, out, _ = caffelite("compare", "a.prototxt:w.caffemodel", "b.npz", "--json")
    assert code == 1 and 'eps 1e-06 in "bn1", in place of 0.01' in first(out)["causes"][0]["text"]


def test_what_is_asked_for_decides(caffelite, folder):
    old, new, *_ = CAUSES["eps"]
    Path("b.prototxt").write_text(NET.replace(old, new))
    command = ["compare", "a.prototxt", "b.prototxt", "--weights", "w.caffemodel"]
    assert caffelite(*command)[0] == 1
    assert caffelite(*command, "--tolerance", "0.01")[0] == 0
    code, _, err = caffelite(*command, "--tolerance", "2")
    assert code == 2 and "2 is not 0 or more and below 1" in err


def test_without_the_extra(caffelite, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, _, err = caffelite("compare", "a.prototxt:w.caffemodel", "net.onnx")
    assert code == 1 and "net.onnx needs onnx and onnxruntime: pip install 'caffelite[onnx]'" in err


def test_values_that_are_no_numbers(caffelite, folder):
    caffelite("compare", "a.prototxt:w.caffemodel", "--save-blobs", "a.npz")
    blobs = dict(np.load("a.npz"))
    blobs["bn1"][0, 0, 0, 0] = np.nan
    np.savez("b.npz", **blobs)
    code, out, _ = caffelite("compare", "a.prototxt:w.caffemodel", "b.npz", "--json")
    told = json.loads(out)["first"]
    assert code == 1 and told["a"] == "bn1" and told["difference"] is None and told["values"][1] is None
    assert [how["kind"] for how in told["how"]] == [cause["kind"] for cause in told["causes"]] == ["nan"]
    assert "bn1     2×4×8×8  NaN         differs, first" in caffelite("compare", "a.prototxt:w.caffemodel", "b.npz")[1]


def changed(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"bgr": values[:, ::-1], "mean": values - np.array([104, 117, 123], np.float32).reshape(1, 3, 1, 1)}


@pytest.mark.parametrize("kind", ["bgr", "mean"])
def test_an_input_that_is_prepared_inside(kind, caffelite, folder):
    values = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.save("x.npy", changed(values)[kind])
    caffelite("compare", "a.prototxt:w.caffemodel", "--save-blobs", "saved.npz", "--input", "x.npy")
    blobs = dict(np.load("saved.npz"))
    np.savez("b.npz", **(blobs | {"data": values}))
    for sides in (["a.prototxt:w.caffemodel", "b.npz"], ["b.npz", "a.prototxt:w.caffemodel"]):
        code, out, _ = caffelite("compare", *sides, "--json")
        told = first(out)
        assert (code, told["a"], told["causes"][0]["kind"]) == (1, "conv1", kind)
    # Where the input itself was saved as it was prepared, it is the first that differs.
    np.save("x.npy", values)
    code, out, _ = caffelite("compare", "a.prototxt:w.caffemodel", "saved.npz", "--input", "x.npy", "--json")
    told = first(out)
    assert (code, told["a"], told["causes"][0]["kind"]) == (1, "data", kind)


def test_a_factor_blob_that_is_not_divided_by(caffelite, folder):
    for name in ("w", "lost"):
        caffelite("compare", f"a.prototxt:{name}.caffemodel", "--save-blobs", f"{name}.npz")
    for sides, said in (
        (("a.prototxt:w.caffemodel", "lost.npz"), "not divided by the factor blob, 90"),
        (("lost.npz", "a.prototxt:w.caffemodel"), "not divided by the factor blob, 90"),
        (("a.prototxt:lost.caffemodel", "w.npz"), "divided by a factor, 90"),
    ):
        code, out, _ = caffelite("compare", *sides, "--json")
        told = first(out)
        assert (code, told["a"], told["causes"][0]["kind"]) == (1, "bn1", "factor")
        assert said in told["causes"][0]["text"] and told["causes"][0]["proven"]
    code, out, _ = caffelite("compare", "a.prototxt:w.caffemodel", "a.prototxt:lost.caffemodel")
    assert (
        code == 1
        and 'the files differ: blob 2 of "bn1" differs: of a.prototxt:lost.caffemodel, it is 1 in place of 90' in out
    )


def test_a_blob_from_before_something_in_place(caffelite, folder):
    other = RELU.replace('top: "scale1"', 'top: "r"') + POOL.replace('bottom: "scale1"', 'bottom: "r"')
    Path("b.prototxt").write_text(NET.replace(RELU + POOL, other))
    for sides in (["a.prototxt", "b.prototxt"], ["b.prototxt", "a.prototxt"]):
        code, out, _ = caffelite("compare", *sides, "--weights", "w.caffemodel")
        assert code == 1 and "the first that differs is scale1" in out
        assert (
            '  why: b.prototxt is what a.prototxt computes with "relu1" (ReLU) left out: b.prototxt has the blob' in out
        )


def test_an_onnx_model_of_other_names(caffelite, folder):
    assert caffelite("convert", "a.prototxt", "--weights", "w.caffemodel", "net.onnx")[0] == 0
    code, out, _ = caffelite("compare", "a.prototxt:w.caffemodel", "net.onnx")
    assert code == 0 and out.splitlines()[-1].startswith("equal: ")
    model = onnx.load("net.onnx")
    for node in model.graph.node:
        node.input[:] = [f"t.{n}" for n in node.input]
        node.output[:] = [f"t.{n}" for n in node.output]
    for value in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        value.name = f"t.{value.name}"
    onnx.save(model, "renamed.onnx")
    code, out, _ = caffelite("compare", "renamed.onnx", "a.prototxt:w.caffemodel", "--json")
    told = json.loads(out)
    assert code == 0 and {(p["a"], p["b"]) for p in told["blobs"]} >= {("t.pool1", "pool1"), ("t.prob", "prob")}
    pool = next(node for node in model.graph.node if node.op_type == "MaxPool")
    pool.op_type = "AveragePool"
    onnx.save(model, "other.onnx")
    code, out, _ = caffelite("compare", "a.prototxt:w.caffemodel", "other.onnx")
    assert code == 1 and "the first that differs is pool1 = t.pool1" in out


def test_a_folded_net(caffelite, folder):
    folded = fold(Net("a.prototxt", TEST, learn=False, weights="w.caffemodel"), check=False).net
    folded.save("folded.caffemodel")
    write_text(folded.document, Path("folded.prototxt"))
    code, out, _ = caffelite("compare", "a.prototxt:w.caffemodel", "folded.prototxt:folded.caffemodel")
    assert code == 0 and "only in a.prototxt:w.caffemodel: 2 blobs (conv1, bn1)" in out


def test_an_image_is_the_input_of_both(caffelite, folder):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).save("x.png")
    assert caffelite("compare", "a.prototxt:w.caffemodel", "--input", "x.png", "--save-blobs", "a.npz")[0] == 0
    assert (np.load("a.npz")["data"] == pixels[None, :, :, ::-1].transpose(0, 3, 1, 2)).all()
    code, out, _ = caffelite("compare", "a.prototxt:w.caffemodel", "a.npz", "--input", "x.png", "--json")
    assert code == 0 and json.loads(out)["blobs"][0] == {
        "a": "data",
        "b": "data",
        "by": "name",
        "shapes": [[1, 3, 8, 8], [1, 3, 8, 8]],
        "difference": 0.0,
        "equal": True,
    }


def test_a_shape_that_is_asked_for(caffelite, folder):
    Path("b.prototxt").write_text(DATA + CONV)
    assert caffelite("compare", "b.prototxt:w.caffemodel", "--shape", "data:1,3,5,6", "--save-blobs", "b.npz")[0] == 0
    assert np.load("b.npz")["conv1"].shape == (1, 4, 5, 6)
    assert caffelite("compare", "b.prototxt:w.caffemodel", "b.npz")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.prototxt"], "give two to be compared; --save-blobs FILE.npz writes the blobs of one"),
        (["a.prototxt", "b.npz"], '"conv1" has weights; give the file with --weights'),
        (["a.prototxt:w.caffemodel", "other.npz"], 'other.npz: there is no array for the input "data"'),
        (["a.prototxt:w.caffemodel", "objects.npz"], "a pickle, which is never opened"),
        (["a.prototxt:w.caffemodel", "text.npz"], "text.npz: its arrays cannot be read: File is not a zip file"),
        (["a.prototxt:w.caffemodel", "text.onnx"], "text.onnx: it is no ONNX model"),
        (["a.prototxt:w.caffemodel", "nowhere.onnx"], "No such file"),
        (["a.prototxt:w.caffemodel", "w.caffemodel"], "w.caffemodel is no side: give NET.prototxt:WEIGHTS"),
        (
            ["a.prototxt:w.caffemodel", "two.prototxt"],
            'the inputs do not match: a.prototxt:w.caffemodel reads "data", two',
        ),
        (["a.prototxt:w.caffemodel", "flat.onnx"], 'the inputs do not match: "data" is 2×3×8×8 in a.proto'),
        (["b.npz", "other.npz"], "b.npz and other.npz have no blob in common"),
        (["b.npz", "b.npz", "--input", "x.npy"], "nothing is run here, so nothing reads x.npy"),
        (["b.npz", "b.npz", "--level", "1"], "--level is for nets in a prototxt, and neither side is one"),
        (
            ["a.prototxt:w.caffemodel", "b.npz", "--input", "x.txt"],
            "the ending of an input says what it is, and .txt is not known",
        ),
        (["a.prototxt:w.caffemodel", "b.npz", "--input", "x.npy"], "no such file"),
        (
            ["a.prototxt:w.caffemodel", "b.npz", "--shape", "dat:1,3,8,8"],
            'for "dat", which neither side reads; did you mean',
        ),
        (
            ["a.prototxt:w.caffemodel", "b.npz", "--weights", "w.caffemodel"],
            "--weights is for nets that are given without",
        ),
        (["a.prototxt:w.caffemodel", "--save-blobs", "b.txt"], "blobs are saved in an .npz file"),
        (["a.prototxt:w.caffemodel", "b.npz", "--save-blobs", "b.npz"], "b.npz is what is read"),
    ],
)
def test_what_is_refused(arguments, said, caffelite, folder):
    np.savez("b.npz", data=np.zeros((2, 3, 8, 8), np.float32), conv1=np.zeros((2, 4, 8, 8), np.float32))
    np.savez("other.npz", x=np.zeros(3, np.float32))
    np.savez("objects.npz", data=np.array([{}]))
    Path("text.npz").write_text("no zip")
    Path("text.onnx").write_text("no model")
    Path("two.prototxt").write_text(
        DATA
        + DATA.replace('"data"', '"more"')
        + 'layer { name: "s" type: "Eltwise" bottom: "data" bottom: "more" top: "s" }'
    )
    value = helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, [1, 5])
    graph = helper.make_graph([helper.make_node("Relu", ["data"], ["y"])], "g", [value], [])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7), "flat.onnx")
    before = sorted(folder.iterdir())
    code, out, err = caffelite("compare", *arguments)
    assert (code, out) == (1, "") and said in err and err.count("caffelite: ") == 1
    assert sorted(folder.iterdir()) == before
