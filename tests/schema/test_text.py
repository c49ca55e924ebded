import contextlib
import re
import warnings
from pathlib import Path

import pytest
from google.protobuf import text_format as protobuf_text

from caffelite.errors import SchemaError
from caffelite.schema.documents import Document, NetDocument, SchemaWarning
from caffelite.schema.messages import LayerParameter, NetParameter, SolverParameter
from caffelite.schema.parser import parse_text
from caffelite.schema.printer import to_text, write_text
from caffelite.schema.text import net_from_text, read_net, read_prototxt, read_solver

CAFFE = Path(__file__).parent.parent / "caffe"


def test_reads_what_protobuf_reads() -> None:
    text = """
    name: "a" 'b' # adjacent strings are one
    type: 'esc\\x41\\101\\n"'
    bottom: ["x", "y"]; top: "z", top: '\\303\\251',
    loss_weight: [1, -2.5e-1, .5f, inf]
    param < lr_mult: 1. > param { decay_mult: -0 }
    include { phase: TEST min_level: 0x1F } include: { phase: 0 not_stage: "s" }
    convolution_param { num_output: 017 bias_term: f kernel_size: 3 engine: CAFFE }
    """
    ours = parse_text(text, LayerParameter).message
    assert ours == protobuf_text.Parse(text, LayerParameter())
    assert ours.convolution_param.num_output == 15


def test_tolerates_byte_order_mark_and_crlf() -> None:
    assert parse_text('\ufeffname: "n"\r\ntype: "t"\r\n', LayerParameter).message.name == "n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('layer { nam: "x" }', '1:9: LayerParameter has no field "nam"; did you mean "name"?'),
        ('layer {\n  name: "x" name: "y" }', '2:13: "name" is given a second time'),
        ('layer {\n name: "x"\n name: "y" name: "open', '3:2: "name" is given a second time; the first is in line 2'),
        ("layer { pooling_param { pool: MAXI } }", 'did you mean "MAX"?'),
        ("layer { pooling_param { stride: -1 } }", "expected a whole number from 0"),
        ("layer { pooling_param { stride: 2.5 } }", '"stride" is "2.5", expected a whole number'),
        ('layer { pooling_param { global_pooling: "yes" } }', "expected true or false"),
        ("layer { name: conv1 }", "expected text in quotes"),
        ('layer { name: "open', "a string that is not closed"),
        ('layer { name: "x"', 'found the end of the file, expected a field name or "}"'),
        ("layer { name }", 'expected ":" after "name"'),
        ("layer: 3", 'expected "{"'),
        ("name: @", "found '@'"),
        ('name: "x" }', 'found "}", expected a field name'),
        ("state { state { } }", "has no field"),
        (r'layer { data_param { source: "C:\data\new" } }', r'"source" has the unknown escape \d'),
        (r'name: "\ud800"', "stands for no character"),
        (r'layer { data_param { source: "a\0b" } }', '"source" has a character 0 in it, which no name has'),
        ("layer { clip_param { min: 1 } }", '1:9: "clip_param" needs "max"'),
        ("layer { loss_weight: 0x1F }", '"loss_weight" is "0x1F", expected a number'),
        ("layer { loss_weight: -t }", '"loss_weight" is minus "t", expected a number'),
        ("input_dim: " + 5000 * "1", "…"),
    ],
)
def test_errors_name_place_and_remedy(text: str, expected: str) -> None:
    with pytest.raises(SchemaError) as error:
        net_from_text(text, "net.prototxt")
    assert str(error.value).startswith("net.prototxt:")
    assert expected in str(error.value)


def test_nesting_is_limited() -> None:
    deep = "layer { " + "norm_param { scale_filler { " + "unheard_of_thing { " * 90 + "}" * 93
    with pytest.warns(SchemaWarning):
        parse_text(deep, NetParameter)  # what is not known is not descended into
    known = "layer { moe_param { gating_net { " * 18
    with pytest.raises(SchemaError, match="nested more than"):
        parse_text(known, NetParameter)


def test_unicode_escapes() -> None:
    assert parse_text(r'name: "\u00e9\U0001f600"', LayerParameter).message.name == "é\U0001f600"


def test_unknown_values_are_kept_as_they_stand() -> None:
    text = 'layer {\n  name: "a"\n  quark: [1, { up: "x\u2028y" }]\n  boson: "a" "b"\n}\n'
    with pytest.warns(SchemaWarning):
        assert to_text(net_from_text(text)) == text


def test_unknown_fields_are_kept() -> None:
    text = 'layer { name: "a" type: "Split" quantum_param { spin: 0.5 flavour: "up" } }\nlayer { name: "b" }\n'
    with pytest.warns(SchemaWarning, match=r'<string>:1:33: LayerParameter has no field "quantum_param"'):
        document = net_from_text(text)
    written = to_text(document)
    assert "quantum_param { spin: 0.5" in written
    with pytest.warns(SchemaWarning):
        assert to_text(net_from_text(written)) == written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("device_id: [0, 1]\nbase_lr: 1\n", '<string>:1:1: "device_id" takes one value; this is left as it is'),
        ("base_lr: 1\ndevice_id: 0\ndevice_id: 1\n", '<string>:3:1: "device_id" takes one value'),
    ],
)
def test_several_values_of_a_fork_where_one_counts(text: str, expected: str) -> None:
    with pytest.warns(SchemaWarning, match=re.escape(expected)):
        document = parse_text(text, SolverParameter)
    assert document.message.base_lr == 1
    assert document.message.device_id == 0
    with pytest.warns(SchemaWarning):
        assert parse_text(to_text(document), SolverParameter).unknown == document.unknown


def test_the_first_of_several_sizes_counts() -> None:
    text = """layer { type: "AnnotatedData" transform_param { resize_param { height: 320 width: 320 }
        resize_param { height: 352 width: 352 } mirror: true resize_param { height: 384 } } }"""
    with pytest.warns(SchemaWarning, match='"resize_param" takes one value') as said:
        transform = net_from_text(text).message.layer[0].transform_param
    assert len(said) == 2
    assert (transform.resize_param.height, transform.mirror) == (320, True)


def test_fields_of_forks_are_known() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        document = net_from_text(
            """layer { type: "PriorBox" prior_box_param { min_size: 30 aspect_ratio: 2 variance: 0.1 } }
            layer { type: "Permute" permute_param { order: 0 order: 2 } }
            layer { type: "BN" bn_param { slope_filler { type: "constant" } bn_mode: INFERENCE } }
            layer { type: "Interp" interp_param { zoom_factor: 8 } }
            layer { type: "SmoothL1Loss" smooth_l1_loss_param { sigma: 3 } }
            layer { type: "Pooling" pooling_param { kernel_size: 2 ceil_mode: false } }
            layer { type: "ROIAlign" roi_align_param { pooled_h: 7 } }
            layer { type: "Lstm" lstm_param { num_output: 2 clipping_threshold: 0.1 } }
            layer { type: "RReLU" rrelu_param { } }
            layer { type: "Transpose" transpose_param { dim: 1 } }
            layer { type: "DeformableConvolution" deformable_convolution_param { deformable_group: 4 } }
            layer { type: "Pooling3D" pooling3d_param { kernel_depth: 2 } }
            layer { type: "Convolution3D" convolution_param { kernel_depth: 3 temporal_pad: 1 } }
            layer { type: "NdPooling" pooling_param { kernel_shape { dim: 1 dim: 2 dim: 2 } } }
            layer { type: "Sparsify" sparsify_param { thre: 0.1 } param { force_mult: 1 } }
            layer { type: "Nms" nms_param { num_parts: 18 } }
            layer { type: "VideoData" transform_param { fix_crop: true scale_ratios: [1, .875] } }"""
        )
    assert document.message.layer[3].interp_param.zoom_factor == 8


def test_text_round_trip_with_protobuf(tmp_path: Path) -> None:
    document = read_net(CAFFE / "net.prototxt")
    text = to_text(document)
    assert protobuf_text.Parse(text, NetParameter()) == document.message
    assert net_from_text(text).message == document.message
    write_text(document, tmp_path / "sub" / "out.prototxt")
    assert read_net(tmp_path / "sub" / "out.prototxt").message == document.message
    assert "base_lr: 0.02\n" in to_text(read_solver(CAFFE / "solver.prototxt"))


def test_places() -> None:
    document = net_from_text(
        'name: "n"\nlayer { name: "a"\n  bottom: "x" bottom: "y"\n  lrn_param { alpha: 2 } }\n', "f"
    )
    assert document.place(0) == "f:2:1"
    assert document.place(0, "bottom", 1) == "f:3:15"
    assert document.place(0, "alpha") == "f:4:15"
    assert document.place(0, "top") == "f:2:1"


def test_places_of_lists_and_of_strings_in_parts() -> None:
    text = """layer { name: "a" 'b'  # }
      loss_weight: [-1, 2,
        inf] include: [ { phase: TEST }, < stage: "{" "s" not_stage: "x" > ] bottom: 'c' "d"
      top: "e" }
    layer { bottom: "f" }"""
    document = net_from_text(text, "f")
    assert document.place_of(("layer", 0, "loss_weight", 2)) == "f:2:7"
    assert document.place_of(("layer", 0, "include", 1, "not_stage", 0)) == "f:3:59"
    assert document.place_of(("layer", 0, "include", 1, "phase", 0)) == "f:3:14"
    assert document.place(0, "bottom") == "f:3:78"
    assert document.place(0, "phase") == "f:3:27"
    assert document.place(0, "top") == "f:4:7"
    assert document.place(1, "bottom") == "f:5:13"


def test_comments_stand_between_any_two_tokens(tmp_path: Path) -> None:
    file = tmp_path / "s"
    file.write_text('name # "\n: "n" layer # {\n { }')
    assert isinstance(read_prototxt(file), NetDocument)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    (tmp_path / "lenet.prototxt").write_text("")
    with pytest.raises(SchemaError, match="did you mean"):
        read_net(tmp_path / "lenett.prototxt")
    (tmp_path / "weights").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SchemaError, match="not a text file"):
        read_net(tmp_path / "weights")


def test_tells_nets_from_solvers(tmp_path: Path) -> None:
    assert read_prototxt(CAFFE / "net.prototxt") == read_net(CAFFE / "net.prototxt")
    solver = read_prototxt(CAFFE / "solver.prototxt")
    assert type(solver) is Document and solver == read_solver(CAFFE / "solver.prototxt")
    file = tmp_path / "s"
    for text, net in (
        ("net_param { layer { } } base_lr: 1", False),
        ("", False),
        ('name: "n"', True),
        ('name: "n" state { level: 1 }', True),
        ('name: "n" unheard_of: 1', False),
        ('\ufeffunheard_of: 1 layers { name: "a" }', True),
    ):
        file.write_text(text)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SchemaWarning)
            with contextlib.suppress(SchemaError):  # "name" is no field of a solver
                assert isinstance(read_prototxt(file), NetDocument) is net, text


def test_compiled_schema_is_that_of_the_source() -> None:
    import hashlib

    root = Path(__file__).parent.parent.parent
    stamp = (root / "caffelite" / "schema" / "caffe.sha256").read_text().strip()
    assert hashlib.sha256((root / "proto" / "caffe.proto").read_bytes()).hexdigest() == stamp
