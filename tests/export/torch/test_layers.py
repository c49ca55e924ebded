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

pytest.importorskip("torch", reason="PyTorch is not in the extra test")
from caffelite.export.torch.write import write  # noqa: E402

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
]


@pytest.mark.parametrize(("kind", "settings", "shapes"), SETTINGS)
def test_settings(kind: str, settings: str, shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    net = layer_net(kind, settings.replace("'", '"'), *shapes, phase=TEST, force=False, learn=False)
    rng = np.random.default_rng(1)
    for blob in net.params.get("L", []):
        blob.data[...] = rng.uniform(0.1, 1, blob.shape)
    net.changed()
    write(net, convert(net, {}), tmp_path / "net.py", {"kind": kind})
