"""Every layer as PyTorch has it, held against what caffelite computes."""

from pathlib import Path

import numpy as np
import pytest
from cases import Case, golden_cases, net_cases
from runner import layer_net

from caffelite.errors import NetError
from caffelite.export.torch.convert import convert
from caffelite.export.torch.layers import writers
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

torch = pytest.importorskip("torch", reason="PyTorch is not in the extra test")
from caffelite.export.torch.check import layer_differences, load_module  # noqa: E402
from caffelite.export.torch.restore import restore  # noqa: E402
from caffelite.export.torch.text import forms  # noqa: E402
from caffelite.export.torch.write import save, write  # noqa: E402
from caffelite.export.trained import forward_afresh  # noqa: E402

#: Cases with settings that have no form.
REFUSED = {
    "Convolution-089": "images, channels and one to three spatial axes",
    "Normalize-l1": "happynear",
    "Normalize-l2": "happynear",
    "Pooling-stochastic": "draws the element of a window",
}
CASES = {
    f"{kind}-{what}": case
    for kind, what, case in [*golden_cases(), *net_cases()]
    if kind in writers() and "y0" in str(case["prototxt"])
}


def net_of(case: Case) -> Net:
    net = Net(net_from_text(str(case["prototxt"]), "case"), TEST, keep=True, learn=False)
    rng = np.random.default_rng(1)
    for j, blob in enumerate(net.params.get("L", [])):
        values = case.get(f"w{j}")
        blob.data[...] = rng.uniform(0.1, 1, blob.shape) if values is None else values.reshape(blob.shape)
    net.changed()
    return net


@pytest.mark.parametrize("name", sorted(CASES.keys() - REFUSED.keys()))
def test_agrees(name: str, tmp_path: Path) -> None:
    net = net_of(CASES[name])
    write(net, convert(net, {}), tmp_path / "net.py", {"case": name})


@pytest.mark.parametrize(
    "name", ["FlowWarp-flow", "Lstm-indicated", "Proposal-sizes", "PSROIPooling-scaled", "ROIPooling-scaled"]
)
def test_agrees_on_the_numbers_of_the_case(name: str, tmp_path: Path) -> None:
    """Regions outside of the map, flows from outside: what random inputs lack."""
    net = net_of(CASES[name])
    made = convert(net, {})
    save(made, tmp_path / "net.py", {"case": name})
    rng = np.random.default_rng(2)
    for blob, inputs in ((net.blobs[x], CASES[name].get(x)) for x in net.blobs if x.startswith("x")):
        blob.data[...] = rng.standard_normal(blob.shape) if inputs is None else inputs.reshape(blob.shape)
    forward_afresh(net)
    for layer, found in layer_differences(net, made, load_module(tmp_path / "net.py")):
        assert found.value <= 1e-5, (layer, found)


@pytest.mark.parametrize(("name", "said"), REFUSED.items())
def test_refused(name: str, said: str) -> None:
    with pytest.raises(NetError, match=said):
        convert(net_of(CASES[name]), {})


#: What the cases lack: type, settings, shapes of the bottoms.
SETTINGS = [
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 2 }", [(2, 3, 6, 5)]),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 2 pool: AVE }", [(2, 3, 6, 5)]),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 } top: 'y1'", [(2, 3, 6, 5)]),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE avg_include_pad: false }", [(2, 3, 6, 6)]),
    ("Pooling", "pooling_param { kernel_size: 3 stride: 2 pad: 1 pool: AVE ceil_mode: false }", [(2, 3, 6, 6)]),
    ("Upsample", "upsample_param { scale: 2 pad_out_h: 1 }", [(2, 3, 3, 2)] * 2),
    ("InnerProduct", "inner_product_param { num_output: 2 axis: 2 transpose: true }", [(2, 3, 2, 2)]),
    ("Eltwise", "eltwise_param { coeff: -1 coeff: 0.5 coeff: 1 }", [(2, 3)] * 3),
    ("Scale", "scale_param { axis: 1 bias_term: true }", [(2, 3, 4), (3,)]),
    ("Scale", "scale_param { axis: 0 num_axes: 2 }", [(2, 3, 4)]),
    ("BatchNorm", "batch_norm_param { scale_bias: true }", [(2, 3, 2)]),
    ("BatchNorm", "batch_norm_param { moving_average: SIMPLE }", [(2, 3)]),
    ("LSTM", "recurrent_param { num_output: 2 }", [(3, 2, 2, 2), (3, 2), (2, 1, 3)]),
    (
        "LSTM",
        "recurrent_param { num_output: 2 expose_hidden: true } top: 'y1' top: 'y2'",
        [(3, 2, 4), (3, 2), (1, 2, 2), (1, 2, 2)],
    ),
    (
        "RNN",
        "recurrent_param { num_output: 2 expose_hidden: true } top: 'y1'",
        [(3, 2, 4), (3, 2), (2, 3), (1, 2, 2)],
    ),
    ("ArgMax", "argmax_param { out_max_val: true top_k: 2 }", [(2, 3, 2)]),
    ("Reshape", "reshape_param { shape { dim: [0, -1] } axis: 1 num_axes: 2 }", [(2, 4, 3, 5)]),
    ("Lstm", "lstm_param { num_output: 2 batch_size: 2 }", [(6, 3, 2)]),
    ("Lstm", "lstm_param { num_output: 2 }", [(3, 2, 2, 2), (3, 2)]),
    ("Pooling3D", "pooling3d_param { kernel_size: 3 kernel_depth: 2 stride: 2 temporal_stride: 2 }", [(2, 2, 3, 5, 4)]),
    ("NdPooling", "pooling_param { global_pooling: true pool: AVE }", [(2, 2, 3, 3, 4)]),
    ("ROIPooling", "roi_pooling_param { pooled_h: 3 pooled_w: 2 pad_ratio: 0.25 }", [(2, 3, 6, 5), (4, 5, 1, 1)]),
    (
        "Correlation",
        "correlation_param { kernel_size: 3 max_displacement: 2 pad: 3 stride_1: 2 stride_2: 2 }",
        [(2, 3, 7, 6)] * 2,
    ),
    (
        "Correlation1D",
        "correlation_param { kernel_size: 1 max_displacement: 2 pad: 2 single_direction: 1 }",
        [(2, 3, 3, 6)] * 2,
    ),
    ("Resample", "resample_param { height: 6 width: 8 }", [(2, 2, 3, 4)]),
    ("Resample", "resample_param { height: 7 width: 3 }", [(2, 2, 3, 4)]),
    ("Resample", "resample_param { type: CUBIC antialias: false }", [(2, 2, 6, 4), (2, 1, 3, 3)]),
    ("Resample", "resample_param { height: 5 width: 6 type: NEAREST }", [(2, 2, 3, 4)]),
    ("Mean", "mean_param { operation: SUBTRACT value: [1, 2] input_scale: 0.5 }", [(2, 4, 3, 2)]),
    (
        "Python",
        "python_param { module: 'rpn.proposal_layer' layer: 'ProposalLayer' "
        "param_str: 'feat_stride: 8, scales: [1, 2], ratios: [0.5, 1]' }",
        [(1, 8, 6, 5), (1, 16, 6, 5), (1, 3)],
    ),
    ("Accum", "accum_param { have_reference: true }", [(2, 1, 2, 3), (2, 2, 1, 1), (2, 1, 4, 5)]),
    ("Accum", "accum_param { size_divisible_by: 4 }", [(2, 1, 2, 3), (2, 2, 5, 1)]),
]


@pytest.mark.parametrize(("kind", "settings", "shapes"), SETTINGS)
def test_settings(kind: str, settings: str, shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    net = layer_net(kind, settings.replace("'", '"'), *shapes, phase=TEST, force=False, learn=False)
    rng = np.random.default_rng(1)
    for blob in net.params.get("L", []):
        blob.data[...] = rng.uniform(0.1, 1, blob.shape)
    net.changed()
    write(net, convert(net, {}), tmp_path / "net.py", {"kind": kind})


DETECTOR = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 24, 32] } } }
layer { name: "sizes" type: "Input" top: "sizes" input_param { shape { dim: [1, 3] } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 4
  stride: 4 weight_filler { type: "xavier" } } }
layer { name: "score" type: "Convolution" bottom: "conv" top: "score" convolution_param { num_output: 8 kernel_size: 1
  weight_filler { type: "xavier" } } }
layer { name: "box" type: "Convolution" bottom: "conv" top: "box" convolution_param { num_output: 16 kernel_size: 1
  weight_filler { type: "gaussian" std: 0.1 } } }
layer { name: "rois" type: "Proposal" bottom: "score" bottom: "box" bottom: "sizes" top: "rois" proposal_param {
  ratio: [0.5, 2] scale: [1, 2] base_size: 8 feat_stride: 4 min_size: 4 post_nms_topn: 10 } }
layer { name: "pool" type: "ROIPooling" bottom: "conv" bottom: "rois" top: "pool" roi_pooling_param { pooled_h: 2
  pooled_w: 2 spatial_scale: 0.25 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc" inner_product_param { num_output: 3
  weight_filler { type: "xavier" } } }
"""


def test_a_detector(tmp_path: Path) -> None:
    """As many regions as are found go on; what the module has that is no blob is taken back too."""
    net = Net(net_from_text(DETECTOR, "detector.prototxt"), TEST, keep=True, learn=False, seed=1)
    made = convert(net, {})
    assert [name for name, _ in write(net, made, tmp_path / "net.py", {"net": "detector"})][-2:] == ["pool", "fc"]
    state = {name: values + 1 for name, values in made.state.items()}
    restore(net, state, "learned.npz")
    np.testing.assert_array_equal(net.params["fc"][0].data, state["fc.weight"])


@pytest.mark.parametrize("call", ["roi_pool(x, none, (2, 2), 1.0)", "psroi_pool(x, none, 2, 1.0)"])
def test_no_region(call: str) -> None:
    names = {"torch": torch, "Tensor": torch.Tensor, "x": torch.zeros(1, 8, 3, 3), "none": torch.zeros(0, 5)}
    exec("\n\n".join(forms()[name] for name in ("bin_edges", "round_as_c", "roi_pool", "psroi_pool")), names)
    assert len(eval(call, names)) == 0
