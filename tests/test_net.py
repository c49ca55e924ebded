"""Graph, plan and net: versions of blobs, memory, sharing, and what gets a gradient."""

import numpy as np
import pytest

from caffelite.errors import NetError, ShapeError, WeightsError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.schema.weights import LayerWeights
from caffelite.words import TEST, TRAIN

INPUT = """name: "n"
layer { name: "in" type: "Input" top: "data" top: "label" input_param { shape { dim: 6 dim: 3 dim: 8 dim: 8 } shape { dim: 6 } } }
"""
BODY = """
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param { num_output: 8 kernel_size: 3
  weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "power" type: "Power" bottom: "conv" top: "power" power_param { power: 2 scale: 0.5 shift: 1 } }
layer { name: "tanh" type: "TanH" bottom: "power" top: "power" }
layer { name: "pool" type: "Pooling" bottom: "power" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "flat" type: "Flatten" bottom: "pool" top: "flat" }
layer { name: "a" type: "InnerProduct" bottom: "flat" top: "a" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "b" type: "InnerProduct" bottom: "flat" top: "b" inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" bottom: "a" top: "sum" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "sum" bottom: "label" top: "loss" }
layer { name: "loss2" type: "EuclideanLoss" bottom: "a" bottom: "b" top: "loss2" loss_weight: 0.1 }
"""


def make(text: str = BODY, phase: int = TRAIN, **options: object) -> Net:
    net = Net(net_from_text(INPUT + text, "net.prototxt"), phase, **options)  # type: ignore[arg-type]
    rng = np.random.default_rng(10)
    net.blobs["data"].data[...] = rng.standard_normal((6, 3, 8, 8))
    net.blobs["label"].data[...] = rng.integers(0, 5, 6)
    return net


def test_fused_and_shared_memory_give_the_same_as_every_blob_kept() -> None:
    lean, kept = make(), make(keep=True)
    for _ in range(2):
        for net in (lean, kept):
            net.zero_grad()
        assert lean.forward() == pytest.approx(kept.forward(), rel=1e-6)
        lean.backward()
        kept.backward()
        np.testing.assert_allclose(lean.diff, kept.diff, rtol=1e-4, atol=1e-6)
    assert lean.plan.bytes < kept.plan.bytes
    fused = [[n.layer.type for n in u.nodes] for u in lean.plan.units if len(u.nodes) > 1]
    assert fused == [["BatchNorm", "Scale"], ["ReLU", "Power", "TanH"]]
    assert all(len(unit.nodes) == 1 for unit in kept.plan.units)
    assert {"data", "label", "loss", "loss2"} <= set(lean.blobs)


def test_gradient_of_a_net_by_differences() -> None:
    net = make()
    net.zero_grad()
    net.forward()
    net.backward()
    gradient = net.diff.astype(np.float64).copy()
    rng = np.random.default_rng(11)
    start = net.data.copy()
    errors = []
    for _ in range(5):
        direction = rng.standard_normal(net.data.size) + 3 * gradient / np.linalg.norm(gradient) * np.sqrt(
            gradient.size
        )
        values = []
        for sign in (1, -1):
            net.data[:] = start + sign * 1e-4 * direction
            values.append(net.forward())
        net.data[:] = start
        expected = gradient @ direction
        errors.append(abs((values[0] - values[1]) / 2e-4 - expected) / abs(expected))
    assert np.median(errors) < 0.02


def test_a_name_stands_for_its_last_version() -> None:
    net = make(keep=True)
    net.forward()
    assert net.blobs["conv"].data.min() == 0
    nodes = {node.name: node for node in net.graph.nodes}
    assert nodes["bn"].bottoms[0] is not nodes["bn"].tops[0]
    assert net.graph.names["conv"] is nodes["relu"].tops[0]


def test_same_seed_same_bits_other_seed_other_numbers() -> None:
    first, second, other = make(seed=5), make(seed=5), make(seed=6)
    assert first.data.tobytes() == second.data.tobytes()
    assert first.data.tobytes() != other.data.tobytes()
    for net in (first, second):
        net.zero_grad()
        net.forward()
        net.backward()
    assert first.diff.tobytes() == second.diff.tobytes()


def test_parameters_shared_by_name() -> None:
    text = """
    layer { name: "p" type: "InnerProduct" bottom: "data" top: "p" param { name: "w" lr_mult: 2 } param { name: "b" }
      inner_product_param { num_output: 192 weight_filler { type: "xavier" } } }
    layer { name: "q" type: "InnerProduct" bottom: "p" top: "q" param { name: "w" } param { name: "b" lr_mult: 3 }
      inner_product_param { num_output: 192 } }
    layer { name: "r" type: "InnerProduct" bottom: "q" top: "r" param { name: "w" share_mode: PERMISSIVE }
      inner_product_param { num_output: 192 bias_term: false transpose: true } }
    layer { name: "s" type: "Reshape" bottom: "r" top: "s" reshape_param { shape { dim: 6 dim: 192 } } }
    layer { name: "l" type: "EuclideanLoss" bottom: "s" bottom: "p" top: "l" }"""
    net = make(text)
    assert net.data.size == 192 * 192 + 192
    assert [(own.lr_mult, own.names) for own in net.learnable] == [(2, ["p/0", "q/0", "r/0"]), (3, ["p/1", "q/1"])]
    assert net.params["p"][0] is net.params["q"][0]
    net.zero_grad()
    net.forward()
    net.backward()
    assert net.diff.any()


@pytest.mark.parametrize(
    ("spec", "outputs", "expected"),
    [
        ('name: "w"', 7, "needs shape 7×5 where that has 5×192"),
        ('name: "w" lr_mult: 3', 5, "lr_mult is 3 here and 2 there"),
    ],
)
def test_parameters_that_cannot_be_shared(spec: str, outputs: int, expected: str) -> None:
    text = f"""
    layer {{ name: "p" type: "InnerProduct" bottom: "data" top: "p" param {{ name: "w" lr_mult: 2 }} inner_product_param {{ num_output: 5 }} }}
    layer {{ name: "q" type: "InnerProduct" bottom: "{"p" if outputs == 7 else "data"}" top: "q" param {{ {spec} }}
      inner_product_param {{ num_output: {outputs} }} }}"""
    with pytest.raises(NetError, match="net.prototxt:.*shares parameter") as error:
        make(text)
    assert expected in str(error.value)


def test_a_test_net_uses_the_parameters_of_the_train_net_by_layer_name() -> None:
    train = make()
    test = make(phase=TEST, share=train)
    train.forward()  # BatchNorm keeps statistics
    train.data[:] += 0.01
    assert test.params["conv"][0].data.ctypes.data == train.params["conv"][0].data.ctypes.data
    assert test.data.size == 0
    assert test.params["bn"][2].data[0] == pytest.approx(1.01)
    with pytest.raises(ShapeError, match="they cannot be shared"):
        make(BODY.replace("num_output: 8", "num_output: 9"), TEST, share=train)


def test_frozen_layers_and_propagate_down() -> None:
    frozen = BODY.replace(
        'top: "conv" convolution', 'top: "conv" param { lr_mult: 0 } param { lr_mult: 0 } convolution'
    )
    net = make(frozen)
    nodes = {node.name: node for node in net.graph.nodes}
    assert not nodes["conv"].backward
    assert nodes["scale"].backward
    assert nodes["scale"].propagate == [False]
    cut = make(BODY.replace('type: "Flatten"', 'type: "Flatten" propagate_down: false'))
    nodes = {node.name: node for node in cut.graph.nodes}
    assert not nodes["conv"].backward
    assert nodes["a"].backward
    with pytest.raises(NetError, match="propagate_down is given 2 times"):
        make(BODY.replace('type: "Flatten"', 'type: "Flatten" propagate_down: false propagate_down: true'))


def test_force_backward_reaches_the_input() -> None:
    net = make("force_backward: true" + BODY, keep=True)
    net.forward()
    net.backward()
    assert net.blobs["data"].diff is not None
    assert net.blobs["data"].diff.any()
    assert make(keep=True).blobs["data"].diff is None


def test_a_loss_that_is_read_further_on() -> None:
    text = (
        BODY
        + """layer { name: "twice" type: "Power" bottom: "loss" top: "twice" power_param { scale: 3 } loss_weight: 2 }"""
    )
    net, plain = make(text), make(BODY.replace('top: "loss" }', 'top: "loss" loss_weight: 7 }'))
    for n in (net, plain):
        n.zero_grad()
        n.forward()
        n.backward()
        n.zero_grad()
        n.forward()
        n.backward()
    np.testing.assert_allclose(net.diff, plain.diff, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("rule", "state", "there"),
    [
        ("", {}, True),
        ("include { phase: TRAIN }", {}, True),
        ("include { phase: TEST }", {}, False),
        ("exclude { phase: TRAIN }", {}, False),
        ("include { phase: TEST } include { min_level: 1 }", {"level": 1}, True),
        ("include { min_level: 1 max_level: 2 }", {"level": 3}, False),
        ("include { stage: 'a' stage: 'b' }", {"stages": ["a"]}, False),
        ("include { stage: 'a' stage: 'b' }", {"stages": ["b", "a"]}, True),
        ("include { not_stage: 'a' }", {"stages": ["a"]}, False),
        ("exclude { stage: 'a' } exclude { max_level: -1 }", {"level": 0}, True),
    ],
)
def test_rules(rule: str, state: dict[str, object], there: bool) -> None:
    net = make(f'layer {{ name: "r" type: "ReLU" bottom: "data" top: "r" {rule} }}', **state)
    assert ("r" in net.layer_names) == there


def test_weights(tmp_path) -> None:
    net, other = make(seed=1), make(seed=2)
    net.save(tmp_path / "w.caffemodel")
    net.save(tmp_path / "w.h5")
    for name in ("w.caffemodel", "w.h5"):
        other.data[:] = 0
        assert sorted(other.copy_from(tmp_path / name).taken) == sorted(net.params)
        np.testing.assert_array_equal(other.data, net.data)
    some = [LayerWeights("a", "", [np.zeros((5, 72), np.float32)])]
    with pytest.raises(WeightsError, match='layer "a" has 1 blobs, the net has 2'):
        net.copy_from(some)
    some[0].blobs.append(np.zeros(6, np.float32))
    with pytest.raises(ShapeError, match='layer "a": blob 1 has shape 6, the net has 5'):
        net.copy_from(some)
    with pytest.raises(WeightsError, match=r'none of its 1 layers .* \(nearest: "conv"\)'):
        net.copy_from([LayerWeights("convv", "", [np.zeros(1, np.float32)])])
    old = [LayerWeights("a", "", [net.params["a"][0].data.reshape(1, 1, 5, 72) + 1, np.ones((1, 1, 1, 5), np.float32)])]
    assert net.copy_from(old).taken == ["a"]
    assert (net.params["a"][1].data == 1).all()


def test_profile_tells_every_layer() -> None:
    net = make()
    times = net.profile(2)
    assert {name for t in times for name in t.name.split("+")} == set(net.layer_names)
    assert all(t.forward >= 0 and t.backward >= 0 for t in times)


def test_sizes_are_checked_before_memory_is_taken() -> None:
    text = (
        """layer { name: "big" type: "DummyData" top: "b" dummy_data_param { shape { dim: 1000000 dim: 1000000 } } }"""
    )
    with pytest.raises(ShapeError, match='layer "big": top "b" would have 1000000×1000000 values'):
        make(text)
