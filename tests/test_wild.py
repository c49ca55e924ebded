"""The tool that tells what caffelite takes of a folder of published files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

TOOL = Path(__file__).resolve().parent.parent / "tools" / "wild.py"
INPUT = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
FILES = {
    "a/good.prototxt": INPUT + 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }',
    "b/the_same.prototxt": INPUT + 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }',
    "fork.pt": INPUT + 'layer { name: "c" type: "DenseThing" bottom: "x" top: "y" thing_param { size: 3 } }',
    "template.prototxt": INPUT + 'layer { name: "p" type: "InnerProduct" inner_product_param { num_output: three } }',
    "axis.prototxt": INPUT + 'layer { name: "f" type: "Flatten" bottom: "x" top: "y" flatten_param { axis: 5 } }',
    "data.prototxt": 'layer { name: "d" type: "Data" top: "x" data_param { source: "none_lmdb" batch_size: 2 } }',
    "code.prototxt": INPUT
    + 'layer { name: "p" type: "Python" bottom: "x" top: "y" python_param { module: "m" layer: "L" } }',
    "train.prototxt": INPUT.replace("top:", "include { phase: TRAIN } top:")
    + 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }',
    "rest.prototxt": 'layer { name: "r" type: "ReLU" bottom: "x" top: "y" }',
    "solver.prototxt": 'net: "a/good.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 10',
    "no_rate.prototxt": 'net: "a/good.prototxt" lr_policy: "fixed" max_iter: 10',
    "labels.prototxt": 'item { name: "cat" label: 1 }',
    "notes.txt": "no net",
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return the table, and what came of each file."""
    folder = tmp_path_factory.mktemp("published")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text + "\n")
    rows = folder / "rows.json"
    options = ["--schema", str(schema(folder)), "--json", str(rows), "--workers", "1"]
    done = subprocess.run([sys.executable, str(TOOL), str(folder), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, {row["file"]: row for row in json.loads(rows.read_text())}


def schema(folder: Path) -> Path:
    """Write a schema that knows of a net only its layers' names and types."""
    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(name="caffe.proto", package="caffe", syntax="proto2")
    net, solver, layer = (file.message_type.add(name=n) for n in ("NetParameter", "SolverParameter", "LayerParameter"))
    field = descriptor_pb2.FieldDescriptorProto
    solver.field.add(name="net", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    net.field.add(
        name="layer", number=1, label=field.LABEL_REPEATED, type=field.TYPE_MESSAGE, type_name=".caffe.LayerParameter"
    )
    for number, name in enumerate(("name", "type", "bottom", "top"), 1):
        layer.field.add(name=name, number=number, label=field.LABEL_REPEATED, type=field.TYPE_STRING)
    target = folder / "schema.pb"
    target.write_bytes(files.SerializeToString())
    return target


def test_files_of_the_same_content_count_once(found):
    table, rows = found
    assert table.splitlines()[0] == "different files: 11 (net 8, solver 2, other 1)"
    assert "b/the_same.prototxt" not in rows


@pytest.mark.parametrize(
    ("file", "outcome"),
    [
        ("a/good.prototxt", ""),
        ("fork.pt", "has a layer type that is not known"),
        ("axis.prototxt", 'layer "f": axis 5 does not exist in a blob of shape 2×3'),
        ("data.prototxt", "needs its data"),
        ("code.prototxt", "runs Python code of its own"),
        ("train.prototxt", ""),
        ("rest.prototxt", "has a bottom that no layer produces"),
    ],
)
def test_what_a_net_lacks_to_be_planned(found, file, outcome):
    assert found[1][file]["planned"] == outcome


def test_the_table(found):
    table, rows = found
    assert "nets and solvers that parse: 9 of 10 (90.0%)" in table
    assert '1 "num_output" is "three", expected a whole number  (template.prototxt)' in table
    assert "by the other schema: 1 of 10 (10.0%)" in table
    assert "solvers that can be followed: 1 of 2 (50.0%)" in table
    assert "nets with every layer type known: 6 of 7 (85.7%)\n      1 DenseThing\n" in table
    assert "nets that are planned: 2 of 7 (28.6%)" in table
    assert "nets that are drawn: 7 of 7 (100.0%)" in table
    assert "fields that the schema lacks: 1\n      1 LayerParameter.thing_param" in table
    assert rows["train.prototxt"]["TEST"] == "has a bottom that no layer produces"
