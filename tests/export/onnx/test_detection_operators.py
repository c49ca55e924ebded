"""Detectors as ONNX models, held in ONNX Runtime against what caffelite detects."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from naive_boxes import priors_blob, random_boxes
from onnx_runs import Arrays, agree, forward, run

from caffelite.errors import NetError
from caffelite.export.onnx.check import compare
from caffelite.export.onnx.convert import Converted, convert
from caffelite.export.onnx.operators import mappings
from caffelite.export.onnx.write import write
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

PROPOSAL = 'python_param { module: "rpn.proposal_layer" layer: "ProposalLayer" param_str: "%s" }'
SETTINGS = "'feat_stride': 8, 'scales': [1, 2], 'ratios': [0.5, 1]"


def built(text: str) -> Net:
    return Net(net_from_text(text, "detector.prototxt"), TEST, keep=True, learn=False, seed=1)


def layer_alone(kind: str, settings: str, shapes: list[tuple[int, ...]], tops: str = 'top: "y0"') -> Net:
    """Return a net of inputs of these shapes and a layer that reads them."""
    text, bottoms = "", ""
    for j, shape in enumerate(shapes):
        dims = " ".join(f"dim: {n}" for n in shape)
        text += f'layer {{ name: "x{j}" type: "Input" top: "x{j}" input_param {{ shape {{ {dims} }} }} }}\n'
        bottoms += f'bottom: "x{j}" '
    return built(f'{text}layer {{ name: "L" type: "{kind}" {bottoms} {tops} {settings} }}\n')


def agreeing(net: Net, inputs: Arrays, opset: int = 13) -> Arrays:
    """Convert the net, hold it against caffelite on these inputs, and return its outputs."""
    inputs = {name: x.astype(np.float32) for name, x in inputs.items()}
    ours = forward(net, inputs)
    agree(run(convert(net, opset), inputs), ours)
    return ours


def predictions(located: int = 1) -> Arrays:
    """Return locations, scores and priors: of two images, 12 priors and 3 classes."""
    rng = np.random.default_rng(1)
    priors = priors_blob(random_boxes(rng, 12), (0.1, 0.1, 0.2, 0.2))
    return {"x0": rng.standard_normal((2, 48 * located)), "x1": rng.random((2, 36)), "x2": priors}


@pytest.mark.parametrize("opset", [11, 18])
@pytest.mark.parametrize(
    ("settings", "located"),
    [
        ("", 1),
        ("code_type: CENTER_SIZE confidence_threshold: 0.3 keep_top_k: 5 nms_param { top_k: 7 nms_threshold: 0.2 }", 1),
        ("code_type: CORNER_SIZE background_label_id: 2 keep_top_k: 4", 3),
        ("background_label_id: -1 variance_encoded_in_target: true", 3),
        ("confidence_threshold: 2", 1),
    ],
)
def test_the_detections_are_those_of_the_layer(settings: str, located: int, opset: int) -> None:
    inputs = predictions(located)
    share = "" if located == 1 else "share_location: false"
    param = f"detection_output_param {{ num_classes: 3 {share} {settings} }}"
    net = layer_alone("DetectionOutput", param, [x.shape for x in inputs.values()])
    rows = agreeing(net, inputs, opset)["y0"]
    assert (rows[..., 1] == -1).all() == ("threshold: 2" in settings)


@pytest.mark.parametrize("stages", [1, 2])
def test_a_first_stage(stages: int) -> None:
    inputs, rng = predictions(), np.random.default_rng(2)
    inputs["x3"] = rng.random((2, 24))
    if stages == 2:
        inputs["x4"] = 0.5 * rng.standard_normal((2, 48))
    param = "detection_output_param { num_classes: 3 objectness_score: 0.5 confidence_threshold: 0.1 }"
    net = layer_alone("DetectionOutput", param, [x.shape for x in inputs.values()])
    assert len(agreeing(net, inputs)["y0"][0, 0]) > 2


#: Two heads; nothing reads the values of the map that the priors of the second are made for.
HEAD = """
layer { name: "loc%d" type: "Convolution" bottom: "%s" top: "loc%d" convolution_param { num_output: 8 kernel_size: 3
  pad: 1 weight_filler { type: "msra" } } }
layer { name: "loc_perm%d" type: "Permute" bottom: "loc%d" top: "loc_perm%d" permute_param { order: [0, 2, 3, 1] } }
layer { name: "loc_flat%d" type: "Flatten" bottom: "loc_perm%d" top: "loc_flat%d" }
layer { name: "conf%d" type: "Convolution" bottom: "%s" top: "conf%d" convolution_param { num_output: 8 kernel_size: 3
  pad: 1 weight_filler { type: "msra" } } }
layer { name: "conf_perm%d" type: "Permute" bottom: "conf%d" top: "conf_perm%d" permute_param { order: [0, 2, 3, 1] } }
layer { name: "conf_flat%d" type: "Flatten" bottom: "conf_perm%d" top: "conf_flat%d" }
layer { name: "map%d" type: "Power" bottom: "%s" top: "map%d" }
layer { name: "prior%d" type: "PriorBox" bottom: "map%d" bottom: "data" top: "prior%d" prior_box_param { min_size: 8
  max_size: 12 variance: 0.1 } }
"""
SSD = (
    """name: "ssd"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }
layer { name: "a" type: "Pooling" bottom: "data" top: "a" pooling_param { pool: AVE kernel_size: 4 stride: 4 } }
layer { name: "b" type: "Pooling" bottom: "a" top: "b" pooling_param { kernel_size: 3 stride: 1 pad: 1 } }
"""
    + "".join(HEAD.replace("%d", number).replace("%s", name) for number, name in (("1", "a"), ("2", "b")))
    + """
layer { name: "loc" type: "Concat" bottom: "loc_flat1" bottom: "loc_flat2" top: "loc" }
layer { name: "conf" type: "Concat" bottom: "conf_flat1" bottom: "conf_flat2" top: "conf" }
layer { name: "priors" type: "Concat" bottom: "prior1" bottom: "prior2" top: "priors" concat_param { axis: 2 } }
layer { name: "rows" type: "Reshape" bottom: "conf" top: "rows" reshape_param { shape { dim: [0, -1, 4] } } }
layer { name: "prob" type: "Softmax" bottom: "rows" top: "prob" softmax_param { axis: 2 } }
layer { name: "scores" type: "Flatten" bottom: "prob" top: "scores" }
layer { name: "found" type: "DetectionOutput" bottom: "loc" bottom: "scores" bottom: "priors" top: "found"
  detection_output_param { num_classes: 4 code_type: CENTER_SIZE keep_top_k: 10 confidence_threshold: 0.1
  nms_param { nms_threshold: 0.45 top_k: 20 } } }
"""
)


def shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def types(converted: Converted) -> list[str]:
    return [op.op_type for op in converted.model.graph.node]


def outputs(converted: Converted) -> dict[str, list[int | str]]:
    return {value.name: shape(value) for value in converted.model.graph.output}


def test_a_detector_with_operators_that_make_its_detections(tmp_path: Path) -> None:
    net = built(SSD)
    converted = convert(net)
    assert outputs(converted) == {"found": [1, 1, 0, 7]}
    assert not converted.fixed
    assert max(d.value for d in write(net, converted, tmp_path / "ssd.onnx")) < 1e-5
    # Priors are constants: what makes the maps whose shapes they are for, and joins them, is gone.
    names = {name for op in converted.model.graph.node for name in op.output}
    assert not names & {"map1", "map2", "prior1", "prior2", "priors"}
    assert "Identity" not in types(converted)


def test_a_detector_cut_before_its_detections() -> None:
    net = built(SSD)
    converted = convert(net, detections="raw")
    priors = net.blobs["priors"].shape
    assert outputs(converted) == {
        "loc": ["batch", priors[2]],
        "scores": ["batch", priors[2]],
        "priors": list(priors),
    }
    assert {"NonMaxSuppression", "TopK", "Identity"}.isdisjoint(types(converted))
    assert max(d.value for d in compare(net, converted)) < 1e-5
    made = run(converted, {"data": np.zeros((1, 3, 32, 32), np.float32)})
    net.forward()
    np.testing.assert_array_equal(made["priors"], net.blobs["priors"].data)


def test_a_detector_for_opencv(tmp_path: Path) -> None:
    net = built(SSD)
    converted = convert(net, detections="opencv")
    assert max(d.value for d in write(net, converted, tmp_path / "ssd.onnx")) < 1e-5
    assert list(tmp_path.iterdir()) == [tmp_path / "ssd.onnx"]
    node = onnx.load(tmp_path / "ssd.onnx").graph.node[-1]
    assert (node.op_type, list(node.output)) == ("DetectionOutput", ["found"])
    settings = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    assert settings["code_type"] == b"CORNER" and settings["keep_top_k"] == 10 and settings["num_classes"] == 4


@pytest.mark.parametrize(
    ("layers", "detections", "said"),
    [
        (SSD.replace("0.45", "0.45 eta: 0.9"), "nms", "keeps its threshold, so eta must be 1"),
        (SSD.replace("0.45", "0"), "opencv", "OpenCV's DetectionOutput takes an nms_threshold above 0"),
        (SSD.replace("keep_top_k: 10", "keep_top_k: 0"), "nms", "with top_k or keep_top_k 0 there are no detections"),
        (SSD + 'layer { name: "p" type: "Power" bottom: "found" top: "p" }', "raw", 'leaves it out, but "p" reads'),
        (
            'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 9, 2, 2] } } }'
            'layer { name: "L" type: "YoloDetectionOutput" bottom: "data" top: "y" '
            "yolo_detection_output_param { num_classes: 4 num_box: 1 biases: [1, 1] } }",
            "opencv",
            "no detections of YOLO: take nms or raw",
        ),
    ],
)
def test_what_is_refused(layers: str, detections: str, said: str) -> None:
    with pytest.raises(NetError, match='detector.prototxt.*layer "(found|L)": ') as error:
        convert(built(layers), detections=detections)
    assert said in str(error.value)


def test_yolo_detects_in_both_of_its_maps() -> None:
    shapes = [(1, 18, 2, 3), (1, 18, 4, 3)]
    settings = "num_classes: 4 num_box: 2 biases: [0.5, 0.7, 0.9, 0.4] confidence_threshold: 0.3"
    net = layer_alone("YoloDetectionOutput", f"yolo_detection_output_param {{ {settings} }}", shapes)
    rng = np.random.default_rng(3)
    maps = {f"x{j}": 2 * rng.standard_normal(shape) for j, shape in enumerate(shapes)}
    none = [np.full(shape, -9.0) for shape in shapes]
    both, first, second = (
        len(agreeing(net, x)["y0"][0, 0]) for x in (maps, {**maps, "x1": none[1]}, {**maps, "x0": none[0]})
    )
    assert 1 < max(first, second) < both


def test_regions_of_any_number_go_on() -> None:
    python = PROPOSAL % SETTINGS
    net = built(
        f"""
layer {{ name: "x0" type: "Input" top: "x0" input_param {{ shape {{ dim: [1, 8, 4, 5] }} }} }}
layer {{ name: "x1" type: "Input" top: "x1" input_param {{ shape {{ dim: [1, 16, 4, 5] }} }} }}
layer {{ name: "x2" type: "Input" top: "x2" input_param {{ shape {{ dim: [1, 3] }} }} }}
layer {{ name: "rois" type: "Python" bottom: "x0" bottom: "x1" bottom: "x2" top: "rois" {python} }}
layer {{ name: "pool" type: "ROIPooling" bottom: "x1" bottom: "rois" top: "pool"
  roi_pooling_param {{ pooled_h: 2 pooled_w: 2 spatial_scale: 0.125 }} }}
layer {{ name: "flat" type: "Reshape" bottom: "pool" top: "flat" reshape_param {{ shape {{ dim: [0, -1] }} }} }}
layer {{ name: "drop" type: "Dropout" bottom: "flat" top: "drop" dropout_param {{ scale_train: false }} }}
layer {{ name: "fc" type: "InnerProduct" bottom: "drop" top: "fc" inner_product_param {{ num_output: 3
  weight_filler {{ type: "msra" }} }} }}
"""
    )
    converted = convert(net)
    assert "takes one image at a time" in converted.fixed
    assert outputs(converted) == {"fc": [0, 3]}
    assert max(d.value for d in compare(net, converted)) < 1e-5
    rng = np.random.default_rng(1)
    x = {"x0": rng.random((1, 8, 4, 5)), "x1": 0.3 * rng.standard_normal((1, 16, 4, 5))}
    few, many = (agreeing(net, {**x, "x2": np.array([[32, 40, factor]])}) for factor in (1.9, 0.5))
    assert 0 < len(few["fc"]) < len(many["fc"])


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.25 pad_ratio: 0.2 }"),
        ("ROIAlign", "roi_pooling_param { pooled_h: 2 pooled_w: 3 spatial_scale: 0.25 }"),
        ("PSROIPooling", "psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 0.25 }"),
        ("PSROIAlign", "psroi_align_param { output_dim: 2 group_size: 2 spatial_scale: 0.25 }"),
        (
            "DeformablePSROIPooling",
            "deformable_psroi_pooling_param { output_dim: 2 group_size: 2 spatial_scale: 0.25 sample_per_part: 2 "
            "no_trans: true }",
        ),
    ],
)
def test_regions_at_halves_and_outside(kind: str, settings: str) -> None:
    rng = np.random.default_rng(1)
    # Halves are rounded away from zero, where ONNX's Round takes the even neighbour; regions without size, and outside.
    regions = [[0, 2.5, 4.5, 14.5, 17.5], [1, -2.5, 0.5, 3.5, 30], [0, 40, 40, 50, 50], [1, 7, 7, 7, 7]]
    inputs = {"x0": rng.standard_normal((2, 8, 6, 5)), "x1": np.array(regions)}
    agreeing(layer_alone(kind, settings, [(2, 8, 6, 5), (4, 5)]), inputs, 11)


def test_channels_to_space_and_back() -> None:
    x = {"x0": np.random.default_rng(1).standard_normal((2, 8, 4, 6))}
    for settings in ("stride: 2", "stride: 2 reverse: true", "stride: 1"):
        agreeing(layer_alone("Reorg", f"reorg_param {{ {settings} }}", [(2, 8, 4, 6)]), x)


@pytest.mark.parametrize(("kind", "blob"), [("Softmax", "prob"), ("DetectionOutput", "found")])
def test_what_detections_are_made_of_is_seen(kind: str, blob: str, monkeypatch, tmp_path: Path) -> None:
    before = mappings()[kind]
    wrong = before._replace(convert=lambda g, node, x: [g.add("Mul", *before.convert(g, node, x), g.constant(1.1))])
    monkeypatch.setitem(mappings(), kind, wrong)
    net = built(SSD)
    with pytest.raises(NetError, match=f'"{blob}" '):
        write(net, convert(net), tmp_path / "ssd.onnx")
