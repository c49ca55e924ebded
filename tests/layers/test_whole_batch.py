"""Batch normalization of a batch that processes share: together what one process computes."""

import numpy as np
import pytest
from groups import in_threads

from caffelite.errors import NetError
from caffelite.gpu.batchnorm import GpuBatchNorm
from caffelite.layers.contract.context import Context
from caffelite.layers.contract.group import BATCH, PROCESS, Group
from caffelite.net import Net
from caffelite.net.statistics import average_statistics
from caffelite.schema.messages import LayerParameter
from caffelite.schema.text import net_from_text

#: Images of each process; they do not divide a batch of 7.
PIECES = {1: [7], 2: [4, 3], 3: [3, 2, 2]}
EPS, PASSES = 1e-5, 3

NORMALIZE = """layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param {
  moving_average_fraction: 0.9 } }
layer { name: "scale" type: "Scale" bottom: "y" top: "y" scale_param { bias_term: true filler { value: 1.5 } } }
layer { name: "relu" type: "ReLU" bottom: "y" top: "z" }"""

WAYS = {
    "in place": NORMALIZE.replace('bottom: "x" top: "y"', 'bottom: "x" top: "x"')
    .replace('bottom: "y" top: "y"', 'bottom: "x" top: "x"')
    .replace('bottom: "y" top: "z"', 'bottom: "x" top: "z"'),
    "scale inside": """layer { name: "bn" type: "BatchNorm" bottom: "x" top: "z" batch_norm_param {
      moving_average: SIMPLE scale_bias: true } }""",
    "PSPNet": 'layer { name: "bn" type: "BN" bottom: "x" top: "z" bn_param { slope_filler { value: 2 } } }',
    "SegNet": """layer { name: "bn" type: "BN" bottom: "x" top: "z" top: "mean" top: "variance" bn_param {
      bn_mode: LEARN scale_filler { value: 2 } } }""",
}


def images(*shape: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x with a mean of 1000 and a deviation of 0.1, and what the output is to be like."""
    rng = np.random.default_rng(0)
    return (1000 + 0.1 * rng.standard_normal(shape)).astype(np.float32), rng.standard_normal(shape, np.float32)


def text(shape: tuple[int, ...], layers: str) -> str:
    """Return a net on batches of this shape, of which each process has a piece."""
    dims = " ".join(f"dim: {size}" for size in shape)
    return f"""force_backward: true
    layer {{ name: "in" type: "DummyData" top: "x" top: "t" dummy_data_param {{ shape {{ {dims} }} }} }}
    {layers}
    layer {{ name: "loss" type: "EuclideanLoss" bottom: "z" bottom: "t" top: "loss" }}"""


def passes(size: int, layers: str, x: np.ndarray, t: np.ndarray, keep: bool, mode: str = BATCH) -> list[Net]:
    """Return the nets of all processes after some passes, each of which has its piece's part of the loss."""

    def work(group: Group) -> Net:
        mine = np.array_split(np.arange(7), size)[group.rank]
        net = Net(net_from_text(text(x.shape, layers)), group=group, keep=keep, bn_statistics=mode)
        for _ in range(PASSES):
            net.blobs["x"].data[...], net.blobs["t"].data[...] = x[mine], t[mine]
            net.zero_grad()
            net.forward()
            net.backward()
        return net

    nets = in_threads(size, work)
    assert [len(net.blobs["t"].data) for net in nets] == PIECES[size]
    return nets


def together(nets: list[Net], name: str, part: str = "data") -> np.ndarray:
    return np.concatenate([getattr(net.blobs[name], part) for net in nets])


def normal_of(x: np.ndarray) -> np.ndarray:
    """Return x normalized by all of it, in float64."""
    axes = (0, *range(2, x.ndim))
    x = x.astype(np.float64)
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + EPS)


def loss_of(x: np.ndarray, t: np.ndarray) -> float:
    return float(((np.maximum(1.5 * normal_of(x), 0) - t) ** 2).sum() / 2 / len(x))


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("shape", [(7, 3, 4, 5), (7, 3)], ids=["maps", "rows"])
def test_pieces_are_normalized_by_the_whole_batch(shape: tuple[int, ...], size: int) -> None:
    x, t = images(*shape)
    (one,) = passes(1, NORMALIZE, x, t, True)
    nets = passes(size, NORMALIZE, x, t, True)
    # At 1000 a float32 is 6e-5 from the next one.
    np.testing.assert_allclose(together(nets, "z"), np.maximum(1.5 * normal_of(x), 0), atol=1.5 * 6e-5 / 0.1)
    if len(shape) > 2:
        np.testing.assert_allclose(together(nets, "z"), one.blobs["z"].data, atol=2e-6)
    axes, count = (0, *range(2, x.ndim)), x.size / 3
    factor = sum(0.9**i for i in range(PASSES))
    unbiased = x.astype(np.float64).var(axes) * count / (count - 1)
    assert len({net.data.tobytes() for net in nets}) == 1
    mean, variance, stored_count = (blob.data for blob in nets[0].params["bn"])
    np.testing.assert_allclose(mean / factor, x.mean(axes, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(variance / factor, unbiased, rtol=1e-6)
    assert stored_count[0] == pytest.approx(factor)
    for blob, alone in zip((mean, variance, stored_count), one.params["bn"], strict=True):
        np.testing.assert_allclose(blob, alone.data, rtol=1e-6)


def test_squares_are_about_what_was_stored() -> None:
    x, t = images(7, 3, 4, 5)
    x = 1_000_000 + np.rint(10 * (x - 1000)) / 2  # about 0, float64 itself would lose four digits of the variance
    layers = NORMALIZE.replace("moving_average_fraction: 0.9", "moving_average_fraction: 0")
    variance = passes(2, layers, x, t, True)[0].params["bn"][1].data
    np.testing.assert_allclose(variance, x.astype(np.float64).var((0, 2, 3), ddof=1), rtol=1e-5)


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "fused"])
@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("shape", [(7, 3, 4, 5), (7, 3)], ids=["maps", "rows"])
def test_the_gradient_is_that_of_the_whole_batch(shape: tuple[int, ...], size: int, keep: bool) -> None:
    x, t = images(*shape)
    x -= np.float32(999)
    dx = together(passes(size, NORMALIZE, x, t, keep), "x", "diff")
    # Against differences of the loss of the whole batch, in float64.
    rng = np.random.default_rng(1)
    for _ in range(5):
        step = rng.standard_normal(x.shape)
        slope = (loss_of(x + 1e-7 * step, t) - loss_of(x - 1e-7 * step, t)) / 2e-7
        assert (dx * step).sum(dtype=np.float64) == pytest.approx(slope, rel=2e-5, abs=2e-5)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_normalize_is_that_of_one_process(way: str) -> None:
    x, t = images(7, 3, 4, 5)
    (one,) = passes(1, WAYS[way], x, t, True)
    nets = passes(3, WAYS[way], x, t, True)
    for name, part in (("z", "data"), ("x", "diff")):
        whole = together([one], name, part)
        np.testing.assert_allclose(together(nets, name, part), whole, atol=2e-6 * np.abs(whole).max())
    for name in {"mean", "variance"} & set(one.blobs):
        np.testing.assert_allclose(nets[2].blobs[name].data, one.blobs[name].data, rtol=1e-6)
    # Each has its part of the gradient of what is learned.
    np.testing.assert_allclose(sum(net.diff for net in nets), one.diff, rtol=1e-4, atol=1e-4)
    assert len({net.data.tobytes() for net in nets}) == 1
    np.testing.assert_allclose(nets[0].data, one.data, rtol=1e-6)


def test_a_process_normalizes_by_itself_and_what_was_stored_is_averaged() -> None:
    x, t = images(7, 3, 4, 5)
    x -= np.float32(999)
    nets = passes(2, NORMALIZE, x, t, True, PROCESS)
    alone = np.concatenate([normal_of(piece) for piece in np.array_split(x, 2)])
    np.testing.assert_allclose(together(nets, "z"), np.maximum(1.5 * alone, 0), atol=1e-5)
    before = [[blob.data.copy() for blob in net.params["bn"]] for net in nets]
    assert (before[0][1] != before[1][1]).all()
    learned = nets[1].params["scale"][0].data.copy()
    in_threads(2, lambda group: average_statistics(nets[group.rank], group))
    for net in nets:
        for blob, first, second in zip(net.params["bn"], *before, strict=True):
            np.testing.assert_array_equal(blob.data, ((first.astype(np.float64) + second) / 2).astype(np.float32))
    np.testing.assert_array_equal(nets[1].params["scale"][0].data, learned)
    # What is equal stays as it is.
    kept = nets[0].data.tobytes()
    in_threads(2, lambda group: average_statistics(nets[group.rank], group))
    assert nets[0].data.tobytes() == nets[1].data.tobytes() == kept


def test_stored_statistics_that_are_not_finite_are_no_centre() -> None:
    def work(group: Group) -> np.ndarray:
        net = Net(net_from_text(text((4, 3, 4, 5), NORMALIZE)), group=group, keep=True)
        for blob in net.params["bn"]:
            blob.data[...] = np.inf
        net.blobs["x"].data[...] = np.arange(120).reshape(2, 3, 4, 5)
        net.forward()
        return net.blobs["z"].data

    assert all(np.isfinite(z).all() and z.any() for z in in_threads(2, work))


class Deaf(Group):
    """Two processes that never add anything up."""

    size = 2

    def sum(self, values: np.ndarray) -> None:
        raise AssertionError("nothing is to be added up")


@pytest.mark.parametrize("phase, stored", [(0, "true"), (1, "true"), (1, "false")])
def test_no_sums_where_statistics_are_stored_or_a_batch_is_whole(phase: int, stored: str) -> None:
    layers = NORMALIZE.replace("moving_average_fraction: 0.9", f"use_global_stats: {stored}")
    net = Net(net_from_text(text((4, 3, 4, 5), layers)), phase, group=Deaf())
    net.forward()
    net.backward()


def test_a_global_factor_follows_the_whole_batch() -> None:
    layers = """layer { name: "in" type: "DummyData" top: "x" top: "f" dummy_data_param {
      shape { dim: 2 dim: 2 } shape { dim: 2 dim: 1 } } }
    layer { name: "s" type: "ChannelScale" bottom: "x" bottom: "f" top: "y" channel_scale_param { global_scale: true } }"""

    def work(group: Group) -> float:
        net = Net(net_from_text(layers), group=group)
        net.blobs["f"].data[...] = 3 + group.rank
        net.forward()
        return float(net.params["s"][0].data[0])

    assert in_threads(2, work) == [3.5, 3.5]


def test_a_gpu_has_no_part_of_a_batch() -> None:
    param = LayerParameter(name="bn", type="BatchNorm", bottom=["x"], top=["y"])
    with pytest.raises(NetError, match="several processes share are not for a GPU.*--bn-statistics process"):
        GpuBatchNorm(param, Context(statistics=Deaf()), lambda *_: "net.prototxt")
