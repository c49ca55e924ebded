import pytest

from caffelite.errors import SchemaError
from caffelite.schema.documents import SchemaWarning
from caffelite.schema.messages import LayerParameter, SolverParameter, V1LayerParameter
from caffelite.schema.parser import parse_text
from caffelite.schema.printer import to_text
from caffelite.schema.text import net_from_text
from caffelite.schema.upgrade import upgrade_solver


def layer_of(text: str, index: int = 0):
    return net_from_text(text, "old").message.layer[index]


def test_v1_layers() -> None:
    layer = layer_of(
        """layers { name: "c" type: CONVOLUTION bottom: "x" top: "y" blobs_lr: 1 blobs_lr: 2 weight_decay: 1
        weight_decay: 0 param: "w" blob_share_mode: PERMISSIVE include { phase: TEST }
        convolution_param { num_output: 3 kernel_size: 5 } }"""
    )
    assert (layer.type, layer.name, list(layer.bottom), list(layer.top)) == ("Convolution", "c", ["x"], ["y"])
    assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(1, 1), (2, 0)]
    assert layer.param[0].name == "w"
    assert layer.param[0].share_mode == 1
    assert layer.convolution_param.num_output == 3
    assert layer.include[0].phase == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SOFTMAX_LOSS", "SoftmaxWithLoss"),
        ("RELU", "ReLU"),
        ("HDF5_DATA", "HDF5Data"),
        ("IM2COL", "Im2col"),
        ("TANH", "TanH"),
        ("EUCLIDEAN_LOSS", "EuclideanLoss"),
        ("LRN", "LRN"),
        ("ABSVAL", "AbsVal"),
        ("ELTWISE", "Eltwise"),
        ("MULTINOMIAL_LOGISTIC_LOSS", "MultinomialLogisticLoss"),
        ("DUMMY_DATA", "DummyData"),
        ("MVN", "MVN"),
        ("NONE", ""),
        ("CROP", "Crop"),
        ("VIDEO_DATA", "VideoData"),
        ("POOLING3D", "Pooling3D"),
        ("MULTI_STAGE_MEANFIELD", "MultiStageMeanfield"),
        ("MCWINDOW_DATA", "MCWindowData"),
    ],
)
def test_v1_types(old: str, new: str) -> None:
    assert layer_of(f"layers {{ type: {old} }}").type == new


def test_v1_data_transformation() -> None:
    layer = layer_of(
        'layers { type: DATA data_param { source: "s" scale: 0.5 mean_file: "m" crop_size: 3 mirror: true } }'
    )
    t = layer.transform_param
    assert (t.scale, t.mean_file, t.crop_size, t.mirror) == (0.5, "m", 3, True)
    assert not layer.data_param.HasField("scale")


def test_v0_layers_and_padding() -> None:
    net = net_from_text(
        """input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
        layers { layer { name: "pad" type: "padding" pad: 2 } bottom: "data" top: "padded" }
        layers { layer { name: "c" type: "conv" num_output: 4 kernelsize: 5 group: 2 biasterm: false blobs_lr: 3
                 weight_filler { type: "xavier" } } bottom: "padded" top: "c" }
        layers { layer { name: "p" type: "pool" pool: AVE kernelsize: 3 stride: 2 } bottom: "c" top: "p" }
        layers { layer { name: "d" type: "data" source: "s" batchsize: 7 scale: 2 cropsize: 5 } top: "d" }""",
        "old",
    ).message
    source, conv, pool, data = net.layer
    assert source.type == "Input"
    assert list(source.input_param.shape[0].dim) == [1, 3, 8, 8]
    assert list(conv.bottom) == ["data"]
    c = conv.convolution_param
    assert (list(c.pad), list(c.kernel_size), c.group, c.bias_term) == ([2], [5], 2, False)
    assert conv.param[0].lr_mult == 3
    assert (pool.type, pool.pooling_param.pool, pool.pooling_param.stride) == ("Pooling", 1, 2)
    assert (data.data_param.batch_size, data.transform_param.scale, data.transform_param.crop_size) == (7, 2, 5)


def test_v0_setting_of_another_layer_is_left_out() -> None:
    with pytest.warns(SchemaWarning, match='old:1:31: "num_output" is not a setting of "relu"'):
        net = net_from_text('layers { layer { type: "relu" num_output: 3 } }', "old").message
    assert to_text(net) == 'layer {\n  type: "ReLU"\n}\n'


def test_unknown_fields_survive_an_upgrade() -> None:
    with pytest.warns(SchemaWarning):
        document = net_from_text("layers { layer { type: 'relu' quark: 3 } } layers { type: TANH quark: 4 }")
    written = to_text(document)
    assert written == 'layer {\n  type: "ReLU"\n  quark: 3\n}\nlayer {\n  type: "TanH"\n  quark: 4\n}\n'


def test_every_old_field_has_a_present_form() -> None:
    present = LayerParameter.DESCRIPTOR.fields_by_name
    moved = {"blobs_lr", "weight_decay", "blob_share_mode", "param", "layer", "type"}
    for name, old in V1LayerParameter.DESCRIPTOR.fields_by_name.items():
        assert name in moved or present[name].message_type is old.message_type


def test_batch_norm_rates_are_left_for_the_layer_to_judge() -> None:
    layer = layer_of('layer { type: "BatchNorm" param { lr_mult: 1 } param { lr_mult: 0 } param { name: "f" } }')
    assert [p.lr_mult for p in layer.param] == [1, 0, 1]


def test_places_after_an_upgrade() -> None:
    document = net_from_text('input: "x"\ninput_shape { dim: 2 }\nlayers {\n  type: RELU bottom: "y" }\n', "old")
    assert document.place(1, "bottom", 0) == "old:4:14"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("layers { type: RELU } layer { }", "not both"),
        ('layers { layer { type: "warp" } }', 'no old layer type "warp"'),
        (
            """layers { layer { type: "padding" } bottom: "x" top: "p" }
            layers { layer { type: "padding" } bottom: "p" top: "q" }""",
            "old:2:13: a padding layer cannot stand behind another",
        ),
        (
            """layers { layer { type: "padding" } bottom: "x" top: "p" }
            layers { layer { type: "relu" } bottom: "p" top: "q" }""",
            'not before "ReLU"',
        ),
        ('input: "x" input_dim: 1', "each takes 4"),
        ('input: "x" input: "y" input_shape { dim: 1 }', "1 input_shape for 2 input"),
    ],
)
def test_what_cannot_be_upgraded(text: str, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        net_from_text(text, "old")


def test_solver_type() -> None:
    upgraded = upgrade_solver(parse_text("solver_type: ADADELTA", SolverParameter))
    assert upgraded.message.type == "AdaDelta"
    with pytest.raises(SchemaError, match="not both"):
        upgrade_solver(parse_text('solver_type: ADAM type: "SGD"', SolverParameter))
