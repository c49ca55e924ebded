"""Messages under the forks' own numbers, held against facts that were read from the forks' files by hand."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pool, message_factory, text_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

from caffelite import fork_pb2
from caffelite.errors import SchemaError
from caffelite.schema.fork_schemas import fork_names
from caffelite.schema.weights import read_weights

#: Of each fork: a type, and in its own schema the field of a layer and what is in its message, as
#: ``name: (number, kind, value)``.
FORKS: dict[str, tuple[str, tuple[str, int], dict[str, tuple[int, str, Any]]]] = {
    "ssd": (
        "PriorBox",
        ("prior_box_param", 203),
        {
            "min_size": (1, "*float", [30.0]),
            "aspect_ratio": (3, "*float", [2.0, 3.0]),
            "clip": (5, "bool", True),
            "variance": (6, "*float", [0.125, 0.25]),
            "img_size": (7, "uint32", 300),
            "offset": (13, "float", 0.25),
        },
    ),
    "faster-rcnn": (
        "ROIPooling",
        ("roi_pooling_param", 8266711),
        {"pooled_h": (1, "uint32", 7), "pooled_w": (2, "uint32", 6), "spatial_scale": (3, "float", 0.0625)},
    ),
    "intel": (
        "ROIPooling",
        ("roi_pooling_param", 154),
        {"pooled_h": (1, "uint32", 7), "pooled_w": (2, "uint32", 6), "spatial_scale": (3, "float", 0.0625)},
    ),
    "nvcaffe": ("Permute", ("permute_param", 202), {"order": (1, "*uint32", [0, 2, 3, 1])}),
    "segnet": (
        "Upsample",
        ("upsample_param", 137),
        {"scale": (1, "uint32", 2), "pad_out_h": (4, "bool", True), "upsample_w": (7, "uint32", 30)},
    ),
    "pspnet": (
        "Interp",
        ("interp_param", 143),
        {"height": (1, "int32", 60), "zoom_factor": (3, "int32", 8), "pad_beg": (5, "int32", -1)},
    ),
    "deeplab": ("Interp", ("interp_param", 153), {"width": (2, "int32", 60), "pad_end": (6, "int32", -1)}),
    "yjxiong": ("BN", ("bn_param", 137), {"momentum": (3, "float", 0.5), "frozen": (5, "bool", True)}),
    "flownet2": (
        "Correlation",
        ("correlation_param", 150),
        {"pad": (2, "uint32", 20), "max_displacement": (4, "uint32", 20), "correlation_type": (15, "int32", 1)},
    ),
}


def net_class(field: tuple[str, int], settings: dict[str, tuple[int, str, Any]]) -> Any:
    """Return a NetParameter that knows BVLC's names and types of layers, and the one field of a fork."""
    file = FileDescriptorProto(name="fork.proto", package="theirs")

    def declare(message: str, fields: dict[str, tuple[int, str]]) -> None:
        made = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            repeated, kind = kind.startswith("*"), kind.removeprefix("*")
            declared = made.field.add(name=name, number=number, label=3 if repeated else 1)
            if kind[0].isupper():
                declared.type_name, declared.type = f".theirs.{kind}", FieldDescriptorProto.TYPE_MESSAGE
            else:
                declared.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")

    declare("NetParameter", {"name": (1, "string"), "layer": (100, "*LayerParameter")})
    name, number = field
    layer = {"name": (1, "string"), "type": (2, "string"), "bottom": (3, "*string"), "top": (4, "*string")}
    declare("LayerParameter", {**layer, name: (number, "Settings")})
    declare("Settings", {name: (number, kind) for name, (number, kind, _) in settings.items()})
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("theirs.NetParameter"))


@pytest.mark.parametrize("fork", FORKS)
def test_the_fork_reads_what_is_written(fork: str) -> None:
    kind, field, settings = FORKS[fork]
    pb2 = fork_pb2(fork)
    net = pb2.NetParameter(name="net")
    layer = net.layer.add(name="L", type=kind, bottom=["x"], top=["y"])
    for name, (_, _, value) in settings.items():
        if isinstance(value, list):
            getattr(getattr(layer, field[0]), name).extend(value)
        else:
            setattr(getattr(layer, field[0]), name, value)
    theirs = net_class(field, settings).FromString(net.SerializeToString())
    (read,) = theirs.layer
    assert (theirs.name, read.name, read.type, list(read.bottom), list(read.top)) == ("net", "L", kind, ["x"], ["y"])
    inner = getattr(read, field[0])
    for name, (_, repeated, value) in settings.items():
        found = getattr(inner, name)
        assert (list(found) if repeated.startswith("*") else found) == value, name
    # Nothing but what the fork knows is in the file.
    assert theirs.SerializeToString() == net.SerializeToString()
    assert pb2.NetParameter.FromString(theirs.SerializeToString()) == net


def test_a_number_of_bvlc_means_another_field_in_a_fork() -> None:
    numbers = {
        fork: fork_pb2(fork).LayerParameter.DESCRIPTOR.fields_by_number[147].name
        for fork in ("bvlc", "nvcaffe", "deeplab", "caffe-face", "mscnn", "segnet-cudnn5")
    }
    assert numbers == {
        "bvlc": "swish_param",
        "nvcaffe": "forward_math",
        "deeplab": "domain_transform_param",
        "caffe-face": "center_loss_param",
        "mscnn": "roi_pooling_param",
        "segnet-cudnn5": "upsample_param",
    }


def test_enums_and_defaults_are_the_forks() -> None:
    assert fork_pb2("nvcaffe").FLOAT16 == 2 and fork_pb2("ssd").PriorBoxParameter.CORNER_SIZE == 3
    assert fork_pb2("yjxiong").BNParameter().eps == pytest.approx(1e-5)
    assert fork_pb2("ssd").NormalizeParameter().eps == pytest.approx(1e-10)
    assert not hasattr(fork_pb2("ssd").PoolingParameter, "CEIL")  # came after that fork
    assert fork_pb2("bvlc").PoolingParameter.CEIL == 0


# C3D 1.0, from before `layer`, has the values of its five-axis arrays in another field: read_weights refuses them.
@pytest.mark.parametrize("fork", [fork for fork in fork_names() if fork != "c3d"])
def test_weights_of_every_fork_are_read_whatever_else_is_in_the_file(fork: str, tmp_path: Path) -> None:
    net = fork_pb2(fork).NetParameter(name="net")
    layer = net.layer.add(name="conv", type="Convolution")
    blob = layer.blobs.add(data=[1.5, -2.0], num=1, channels=1, height=1, width=2)
    for field in layer.DESCRIPTOR.fields:
        if field.name.endswith("_param"):
            getattr(layer, field.name).SetInParent()
    (tmp_path / "w.caffemodel").write_bytes(net.SerializePartialToString())
    (read,) = read_weights(tmp_path / "w.caffemodel")
    assert read.name == "conv"
    np.testing.assert_array_equal(read.blobs[0], np.float32(blob.data).reshape(1, 1, 1, 2))


def test_names_as_people_write_them_and_an_unknown_one() -> None:
    assert fork_pb2("SSD") is fork_pb2("ssd") and fork_pb2("R_FCN") is fork_pb2("r-fcn")
    with pytest.raises(SchemaError, match='no schema of a fork "Segnett" is known; did you mean "segnet"'):
        fork_pb2("Segnett")
    with pytest.raises(SchemaError, match='"torch" is known; it can be "bvlc", "ssd", '):
        fork_pb2("torch")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_messages_are_pickled_and_copied(protocol: int) -> None:
    pb2 = fork_pb2("ssd")
    net = pb2.NetParameter()
    net.layer.add(name="a").permute_param.order.extend([0, 2])
    for message in (net, net.layer[0], net.layer[0].permute_param):
        again = pickle.loads(pickle.dumps(message, protocol))
        assert again == message and type(again) is type(message)
    assert copy.deepcopy(net) == net == copy.copy(net) and type(copy.copy(net)) is pb2.NetParameter


def test_a_message_goes_to_another_process() -> None:
    net = text_format.Parse('layer { name: "a" norm_param { eps: 0.5 } }', fork_pb2("ssd").NetParameter())
    code = "import pickle, sys; sys.stdout.write(str(pickle.load(sys.stdin.buffer)))"
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(net), capture_output=True, check=True)
    assert done.stdout.decode() == str(net)
