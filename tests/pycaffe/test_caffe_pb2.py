"""``caffe.proto.caffe_pb2``, in the way that scripts use it."""

import copy
import os
import pickle
import sys
from collections.abc import Iterator

import pytest
from google.protobuf import text_format

import caffelite
from caffelite.errors import SchemaError
from caffelite.pycaffe import proto
from caffelite.schema import messages

caffelite.as_caffe()

from caffe.proto import caffe_pb2  # noqa: E402


@pytest.fixture
def own_again() -> Iterator[None]:
    yield
    proto.caffe_pb2 = caffe_pb2
    caffelite.as_caffe()


def test_it_is_what_a_generated_module_is() -> None:
    assert issubclass(caffe_pb2.NetParameter, messages.Message) and caffe_pb2.NetParameter is messages.NetParameter
    assert (caffe_pb2.TRAIN, caffe_pb2.TEST, caffe_pb2.Phase.Value("TEST"), caffe_pb2.Phase.Name(0)) == (
        0,
        1,
        1,
        "TRAIN",
    )
    assert caffe_pb2.V1LayerParameter.CONVOLUTION == 4 == caffe_pb2.V1LayerParameter.LayerType.Value("CONVOLUTION")
    assert caffe_pb2.PoolingParameter.AVE == 1 and caffe_pb2.LayerParameter.TYPE_FIELD_NUMBER == 2
    assert caffe_pb2.DESCRIPTOR.package == "caffe"
    assert caffe_pb2._LAYERPARAMETER is caffe_pb2.LayerParameter.DESCRIPTOR
    assert caffe_pb2._V1LAYERPARAMETER_LAYERTYPE.values_by_name["CONVOLUTION"].number == 4
    assert caffe_pb2._PHASE.values_by_number[1].name == "TEST"


def test_bvlcs_fields_have_bvlcs_numbers() -> None:
    bvlc = caffelite.fork_pb2("bvlc")
    for message in bvlc.DESCRIPTOR.message_types_by_name.values():
        ours = caffe_pb2.DESCRIPTOR.message_types_by_name[message.name]
        for field in message.fields:
            assert ours.fields_by_name[field.name].number == field.number, f"{message.name}.{field.name}"
            assert ours.fields_by_name[field.name].type == field.type, f"{message.name}.{field.name}"
        for enum in message.enum_types:
            for value in enum.values:
                assert ours.enum_types_by_name[enum.name].values_by_name[value.name].number == value.number
    # Whoever reads files of LeNet's day counts on these.
    assert caffe_pb2.LayerParameter.CONVOLUTION_PARAM_FIELD_NUMBER == 106
    assert caffe_pb2.NetParameter.LAYER_FIELD_NUMBER == 100


def test_text_copies_and_merges() -> None:
    net = text_format.Parse('name: "n" layer { name: "a" type: "ReLU" }', caffe_pb2.NetParameter())
    text_format.Merge('layer { name: "b" pooling_param { pool: AVE } }', net)
    assert str(net) == text_format.MessageToString(net)
    assert [layer.name for layer in net.layer] == ["a", "b"] and "pool: AVE" in str(net)
    other = caffe_pb2.NetParameter()
    other.CopyFrom(net)
    other.MergeFrom(net)
    assert len(other.layer) == 4 and copy.deepcopy(other) == other
    assert caffe_pb2.NetParameter.FromString(net.SerializeToString()) == net


def test_messages_inside_others_are_pickled_by_every_protocol() -> None:
    net = caffe_pb2.NetParameter(layer=[caffe_pb2.LayerParameter(name="a")])
    net.layer[0].window_data_param.crop_mode = "square"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for message in (net, net.layer[0], net.layer[0].window_data_param, caffe_pb2.Datum(data=b"\xff", label=3)):
            assert pickle.loads(pickle.dumps(message, protocol)) == message


@pytest.mark.usefixtures("own_again")
def test_a_script_gets_a_forks_messages() -> None:
    caffe = caffelite.as_caffe(fork="SSD")
    import caffe.proto.caffe_pb2 as pb2

    assert pb2 is caffelite.fork_pb2("ssd") is caffe.proto.caffe_pb2 is sys.modules["caffe.proto.caffe_pb2"]
    # A net of NetSpec is one of the fork's.
    top = caffe.layers.Permute(caffe.layers.Input(shape={"dim": [1, 2, 3]}), order=[0, 2, 1])
    net = top.to_proto()
    assert type(net) is pb2.NetParameter and list(net.layer[1].permute_param.order) == [0, 2, 1]
    # So are those of caffe.io, or they could not be put into it.
    net.layer[1].blobs.extend([caffe.io.array_to_blobproto([1, 2])])
    assert type(caffe.io.array_to_datum([[[1]]])) is pb2.Datum and caffe.io.caffe_pb2 is pb2
    caffelite.as_caffe()
    assert sys.modules["caffe.proto.caffe_pb2"] is pb2  # as was asked for
    assert "interp_param" not in pb2.LayerParameter.DESCRIPTOR.fields_by_name


@pytest.mark.usefixtures("own_again")
def test_the_environment_names_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "CAFFE_FORK", "pspnet")
    assert caffelite.as_caffe().proto.caffe_pb2 is caffelite.fork_pb2("pspnet")
    with pytest.raises(SchemaError, match='no schema of a fork "sdd" is known; did you mean "ssd"'):
        caffelite.as_caffe(fork="sdd")
