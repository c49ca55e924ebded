import pytest
from google.protobuf import text_format

from caffelite import convert_message, fork_pb2
from caffelite.errors import SchemaError
from caffelite.schema import messages

DETECTOR = messages.NetParameter(name="net", input=["data"])
PRIOR = DETECTOR.layer.add(name="prior", type="PriorBox", phase=messages.NetState().phase)
PRIOR.prior_box_param.min_size.extend([10, 20])
PRIOR.prior_box_param.flip = False
DETECTOR.layer.add(name="out").detection_output_param.code_type = messages.PriorBoxParameter.CENTER_SIZE
CONVOLUTION = DETECTOR.layer.add(name="conv", type="Convolution")
CONVOLUTION.convolution_param.kernel_size.append(3)
CONVOLUTION.blobs.add(data=[1, 2]).shape.dim.extend([2])


def test_there_and_back_by_name() -> None:
    ssd = fork_pb2("ssd")
    theirs = convert_message(DETECTOR, ssd.NetParameter)
    assert theirs == text_format.Parse(str(DETECTOR), ssd.NetParameter())
    assert theirs.layer[0].DESCRIPTOR.fields_by_name["prior_box_param"].number == 203
    assert convert_message(theirs, messages.NetParameter) == DETECTOR


def test_enums_go_by_name_and_single_values_into_lists() -> None:
    v1 = messages.V1LayerParameter(type=messages.V1LayerParameter.CROP)
    crf_rnn = fork_pb2("crf-rnn").V1LayerParameter
    theirs = convert_message(v1, crf_rnn)
    assert theirs.type == crf_rnn.CROP != v1.type
    # In SegNet's day a kernel had one size.
    old = fork_pb2("segnet").ConvolutionParameter
    assert convert_message(CONVOLUTION.convolution_param, old).kernel_size == 3
    assert list(convert_message(old(kernel_size=3), messages.ConvolutionParameter).kernel_size) == [3]


def test_an_empty_message_stays_there() -> None:
    layer = messages.LayerParameter()
    layer.permute_param.SetInParent()
    assert convert_message(layer, fork_pb2("ssd").LayerParameter).HasField("permute_param")


@pytest.mark.parametrize(
    ("text", "fork", "expected"),
    [
        (
            messages.NetParameter(
                layer=[messages.LayerParameter(interp_param=messages.InterpParameter(zoom_factor=2))]
            ),
            "ssd",
            r'layer\[0\].interp_param: LayerParameter of the other schema has no field "interp_param"',
        ),
        (
            messages.NetParameter(layers=[messages.V1LayerParameter(type=messages.V1LayerParameter.VIDEO_DATA)]),
            "bvlc",
            r'layers\[0\].type: the other schema has no value "VIDEO_DATA"',
        ),
        (
            messages.LayerParameter(convolution_param=messages.ConvolutionParameter(kernel_size=[3, 5])),
            "segnet",
            "convolution_param.kernel_size: it has 2 values, and the other schema takes one",
        ),
    ],
)
def test_what_the_other_schema_has_not(text: messages.Message, fork: str, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        convert_message(text, getattr(fork_pb2(fork), text.DESCRIPTOR.name))


def test_a_value_that_does_not_fit() -> None:
    ctpn = fork_pb2("ctpn").BNParameter(axis=1.5)  # a whole number elsewhere
    with pytest.raises(SchemaError, match="axis: the other schema cannot hold 1.5 there"):
        convert_message(ctpn, messages.BNParameter)
