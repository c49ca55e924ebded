"""A net as a whole: its loss, its gradient, its weights."""

import numpy as np
import pytest
from mixed_net import BODY, make

from caffelite.errors import ShapeError, WeightsError
from caffelite.schema.weights import LayerWeights


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
    assert fused == [["BatchNorm", "Scale", "ReLU"], ["Power", "TanH"]]
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


def test_blobs_are_kept_for_a_while() -> None:
    net, beside = make(), make(keep=True)
    loss = net.forward()
    beside.forward()
    lean = net.plan.bytes
    with net.kept():
        assert net.plan.bytes > lean and set(net.blobs) == set(beside.blobs)
        # The batch is there, and nothing has been computed of it yet.
        for position, unit in enumerate(net.plan.units):
            if unit.bottoms:
                net.forward_unit(position)
        assert net.loss() == pytest.approx(loss, rel=1e-6)
        for name, blob in net.blobs.items():
            np.testing.assert_allclose(blob.data, beside.blobs[name].data, rtol=1e-5, atol=1e-6)
    assert net.plan.bytes == lean
    for step in (net.zero_grad, net.forward, net.backward):
        step()
    for step in (beside.zero_grad, beside.forward, beside.backward):
        step()
    np.testing.assert_allclose(net.diff, beside.diff, rtol=1e-4, atol=1e-6)
