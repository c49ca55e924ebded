"""LSTM and RNN beside the golden cases: against a plain computation, from pass to pass, and what does not fit."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.layers.input import Input
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.solvers.solver import Solver
from caffelite.words import TEST, TRAIN

TIME, STREAMS, INPUTS, SIZE, STATIC = 4, 5, 6, 3, 2
FILLERS = 'weight_filler { type: "uniform" min: -1 max: 1 } bias_filler { type: "uniform" min: -1 max: 1 }'
Arrays = dict[str, np.ndarray]


def given(**shapes: tuple[int, ...]) -> str:
    return "".join(
        f'layer {{ name: "in_{name}" type: "Input" top: "{name}" input_param {{ shape {{ '
        f"{' '.join(f'dim: {n}' for n in shape)} }} }} }}\n"
        for name, shape in shapes.items()
    )


def text(kind: str, static: bool = False, exposed: bool = False, settings: str = "", time: int = TIME) -> str:
    hidden = ["h", "c"][: 2 if kind == "LSTM" else 1] if exposed else []
    shapes: dict[str, tuple[int, ...]] = {"x": (time, STREAMS, INPUTS), "cont": (time, STREAMS)}
    if static:
        shapes["s"] = (STREAMS, STATIC)
    shapes |= {f"{name}0": (1, STREAMS, SIZE) for name in hidden}
    bottoms = " ".join(f'bottom: "{name}"' for name in shapes)
    tops = " ".join(f'top: "{name}"' for name in ["y", *hidden])
    return (
        "force_backward: true\n"
        + given(**shapes)
        + f'layer {{ name: "L" type: "{kind}" {bottoms} {tops} recurrent_param {{ num_output: {SIZE} {FILLERS} '
        f"expose_hidden: {str(exposed).lower()} {settings} }} }}\n"
    )


def make(source: str, phase: int = TRAIN) -> Net:
    net = Net(net_from_text(source, "net.prototxt"), phase, keep=True)
    rng = np.random.default_rng(5)
    for name in net.inputs:
        net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
    # The second stream begins anew in the middle, those from the third on go on from before.
    net.blobs["cont"].data[...] = 1
    net.blobs["cont"].data[0, :2] = 0
    net.blobs["cont"].data[2:3, 1] = 0
    return net


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(a: Arrays) -> list[np.ndarray]:
    h, c, outputs = a["h0"][0], a["c0"][0], []
    for x, cont in zip(a["x"], a["cont"][:, :, None], strict=True):
        sums = x @ a["Wx"].T + a["b"] + (cont * h) @ a["Wh"].T + (a["s"] @ a["Ws"].T if "s" in a else 0)
        i, f, o, g = np.split(sums, 4, axis=1)
        c = cont * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return [np.stack(outputs), h[None], c[None]]


def rnn(a: Arrays) -> list[np.ndarray]:
    h, outputs = a["h0"][0], []
    for x, cont in zip(a["x"], a["cont"][:, :, None], strict=True):
        h = np.tanh(x @ a["Wx"].T + a["b"] + (cont * h) @ a["Wh"].T + (a["s"] @ a["Ws"].T if "s" in a else 0))
        outputs.append(np.tanh(h @ a["Wo"].T + a["bo"]))
    return [np.stack(outputs), h[None]]


def arrays_of(net: Net, kind: str, static: bool) -> Arrays:
    names = ["Wx", "b", *(["Ws"] if static else []), "Wh", *(["Wo", "bo"] if kind == "RNN" else [])]
    found = {name: blob.data for name, blob in zip(names, net.params["L"], strict=True)}
    found |= {name: net.blobs[name].data for name in net.inputs}
    return {name: array.astype(np.float64) for name, array in found.items()}


def slopes(compute: Callable[[Arrays], list[np.ndarray]], arrays: Arrays, name: str, weights: np.ndarray) -> np.ndarray:
    """Differentiate the weighted sum of the first output, each value of an array by itself."""
    found = np.zeros_like(arrays[name])
    for place in np.ndindex(found.shape):
        values = []
        for step in (1e-5, -1e-5):
            moved = arrays[name].copy()
            moved[place] += step
            values.append((compute({**arrays, name: moved})[0] * weights).sum())
        found[place] = (values[0] - values[1]) / 2e-5
    return found


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("exposed", [False, True])
@pytest.mark.parametrize(("kind", "compute"), [("LSTM", lstm), ("RNN", rnn)])
def test_agrees_with_a_plain_computation(
    kind: str, compute: Callable[[Arrays], list[np.ndarray]], exposed: bool, static: bool
) -> None:
    net = make(text(kind, static, exposed))
    start = {"h0": np.zeros((1, STREAMS, SIZE)), "c0": np.zeros((1, STREAMS, SIZE))}
    for passes in range(2):
        if passes == 1:
            # The second pass goes on from the first.
            net.blobs["x"].data[...] *= -0.5
        arrays = start | arrays_of(net, kind, static)
        expected = compute(arrays)
        if not exposed:
            start |= dict(zip(["h0", "c0"], expected[1:], strict=False))
        net.forward()
        for name, values in zip(net.layers[-1].param.top, expected, strict=False):
            np.testing.assert_allclose(net.blobs[name].data, values, atol=1e-6)
    rng = np.random.default_rng(6)
    weights = rng.standard_normal(net.blobs["y"].shape).astype(np.float32)
    for name in net.layers[-1].param.top:
        # What comes in at the last hidden values counts nothing.
        net.blobs[name].diff[...] = weights if name == "y" else 7
    net.zero_grad()
    net.backward()
    first = {blob.name: blob.diff.copy() for blob in net.layers[-1].blobs}
    for name, blob in zip(list(arrays_of(net, kind, static)), net.layers[-1].blobs, strict=False):
        np.testing.assert_allclose(blob.diff, slopes(compute, arrays, name, weights), atol=1e-5, err_msg=name)
    for name in ["x", "s"] if static else ["x"]:
        np.testing.assert_allclose(net.blobs[name].diff, slopes(compute, arrays, name, weights), atol=1e-5)
    for name in ["h0", "c0"]:
        if name in net.blobs:
            assert not net.blobs[name].diff.any()
    net.backward()
    for blob in net.layers[-1].blobs:
        np.testing.assert_allclose(blob.diff, 2 * first[blob.name], rtol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_passes_go_on_from_each_other(kind: str) -> None:
    whole, half, resumed = make(text(kind)), make(text(kind, time=2)), make(text(kind, time=2))
    for other in (half, resumed):
        for mine, blob in zip(other.params["L"], whole.params["L"], strict=True):
            mine.data[...] = blob.data
    whole.forward()

    def run(net: Net, first: int) -> np.ndarray:
        for name in ("x", "cont"):
            net.blobs[name].data[...] = whole.blobs[name].data[first : first + 2]
        net.forward()
        return net.blobs["y"].data.copy()

    np.testing.assert_allclose(run(half, 0), whole.blobs["y"].data[:2], atol=1e-6)
    assert sorted(half.state()) == (["L/c", "L/h"] if kind == "LSTM" else ["L/h"])
    resumed.load_state({name: array.copy() for name, array in half.state().items()})
    second = run(half, 2)
    np.testing.assert_allclose(second, whole.blobs["y"].data[2:], atol=1e-6)
    resumed.reshape()
    np.testing.assert_array_equal(run(resumed, 2), second)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_a_run_goes_on_bit_for_bit(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(
        """layer { name: "d" type: "DummyData" top: "x" top: "cont" top: "t" dummy_data_param {
          shape { dim: 3 dim: 4 dim: 5 } shape { dim: 3 dim: 4 } shape { dim: 3 dim: 4 dim: 2 }
          data_filler { type: "gaussian" } data_filler { value: 1 } data_filler { type: "gaussian" } } }
        layer { name: "L" type: "KIND" bottom: "x" bottom: "cont" top: "y" recurrent_param { num_output: 2
          weight_filler { type: "uniform" min: -1 max: 1 } } }
        layer { name: "loss" type: "EuclideanLoss" bottom: "y" bottom: "t" top: "loss" }""".replace("KIND", kind)
    )
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 6 snapshot: 3 snapshot_prefix: "snap"'
    )
    found = []
    for start in (None, "snap_iter_3.solverstate"):
        solver = Solver("solver.prototxt")
        solver.solve(start)
        solver.close()
        found.append(Path("snap_iter_6.solverstate").read_bytes() + Path("snap_iter_6.caffemodel").read_bytes())
    assert found[0] == found[1]


def test_streams_that_change_in_number_begin_anew() -> None:
    net = make(text("LSTM"))
    net.forward()
    assert net.state()["L/h"].any()
    shapes = {"x": (TIME, 2, INPUTS), "cont": (TIME, 2)}
    for layer in net.layers:
        if isinstance(layer, Input):
            layer.top_shapes = [shapes[layer.param.top[0]]]
    net.reshape()
    assert net.blobs["y"].shape == (TIME, 2, SIZE)
    assert net.state()["L/h"].shape == (2, SIZE)
    assert not net.state()["L/h"].any()
    net.forward()


def test_debug_info_prints_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    net = make(text("LSTM", settings="debug_info: true"))
    net.forward()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == TIME
    mean = np.abs(net.blobs["y"].data[1]).mean()
    assert lines[1].startswith(f"    [Forward] Layer L, time step 2: h {mean:.6g}, c ")


def test_a_captioner_learns() -> None:
    """Donahue et al.'s net: words and an image through two LSTMs, then a score for every word."""
    lstms = """layer { name: "lstm1" type: "LSTM" bottom: "words" bottom: "cont" top: "lstm1"
          recurrent_param { num_output: 12 weight_filler { type: "uniform" min: -0.08 max: 0.08 } } }
        layer { name: "lstm2" type: "LSTM" bottom: "lstm1" bottom: "cont" bottom: "image" top: "lstm2"
          recurrent_param { num_output: 12 weight_filler { type: "uniform" min: -0.08 max: 0.08 } } }"""
    source = (
        given(input=(6, 2), cont=(6, 2), target=(6, 2), image=(2, 8))
        + """layer { name: "embed" type: "Embed" bottom: "input" top: "words" param { name: "table" }
          embed_param { num_output: 7 input_dim: 10 bias_term: false
          weight_filler { type: "uniform" min: -0.08 max: 0.08 } } }"""
        + lstms
        + """layer { name: "predict" type: "InnerProduct" bottom: "lstm2" top: "scores"
          inner_product_param { num_output: 10 axis: 2 weight_filler { type: "uniform" min: -0.08 max: 0.08 } } }
        layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "target" top: "loss"
          softmax_param { axis: 2 } loss_param { ignore_label: -1 } }"""
    )
    net = Net(net_from_text(source, "net.prototxt"))
    rng = np.random.default_rng(1)
    net.blobs["input"].data[...] = rng.integers(0, 10, (6, 2))
    net.blobs["target"].data[...] = rng.integers(0, 10, (6, 2))
    net.blobs["target"].data[5, 1] = -1
    net.blobs["cont"].data[1:] = 1
    net.blobs["image"].data[...] = rng.standard_normal((2, 8))
    losses = []
    for _ in range(200):
        net.zero_grad()
        losses.append(net.forward())
        net.backward()
        net.data -= 1.0 * net.diff
    assert losses[0] == pytest.approx(np.log(10), rel=0.01)
    assert losses[-1] < 0.5


@pytest.mark.parametrize(
    ("shapes", "settings", "tops", "expected"),
    [
        ([(4, 3, 5), (4, 3)], "", 1, "needs num_output of at least 1"),
        (
            [(4, 3, 5), (4, 3)],
            "num_output: 2 expose_hidden: true",
            3,
            "takes 4 bottoms (x, cont and h_0, c_0) or 5 (a static input after cont), not 2",
        ),
        ([(4, 3, 5), (4, 3), (3, 2), (3, 2)], "num_output: 2", 1, "takes 2 bottoms (x and cont) or 3"),
        ([(4, 3, 5), (4, 3)], "num_output: 2", 2, "takes 1 top without expose_hidden, 1 in all, not 2"),
        (
            [(4, 3, 5), (4, 3), (1, 3, 2), (1, 3, 2)],
            "num_output: 2 expose_hidden: true",
            1,
            "takes 1 top and one for each of its hidden values, 3 in all, not 1",
        ),
        ([(4, 3), (4, 3)], "num_output: 2", 1, "takes time steps × streams × values, not 4×3"),
        (
            [(4, 3, 5), (4, 3, 1)],
            "num_output: 2",
            1,
            "takes one cont for each of its 4×3 time steps and streams, not 4×3×1",
        ),
        ([(4, 3, 5), (4, 3), (2, 6)], "num_output: 2", 1, "takes a static input of 3 streams × values, not 2×6"),
        (
            [(4, 3, 5), (4, 3), (1, 3, 2), (1, 3, 3)],
            "num_output: 2 expose_hidden: true",
            3,
            "takes hidden values of 1×3×2, not 1×3×3",
        ),
    ],
)
def test_what_does_not_fit(shapes: list[tuple[int, ...]], settings: str, tops: int, expected: str) -> None:
    source = given(**{f"x{j}": shape for j, shape in enumerate(shapes)}) + (
        f'layer {{ name: "L" type: "LSTM" {" ".join(f"""bottom: "x{j}" """ for j in range(len(shapes)))}'
        f'{" ".join(f"""top: "y{j}" """ for j in range(tops))} recurrent_param {{ {settings} }} }}'
    )
    with pytest.raises(NetError) as error:
        Net(net_from_text(source, "net.prototxt"), TEST)
    assert expected in str(error.value)
    assert 'layer "L"' in str(error.value)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(2, 3, 4), (1, 3, 16), (1, 3)], "takes cells of 1 × streams × values, not 2×3×4"),
        ([(1, 3, 4), (1, 3, 12), (1, 3)], "takes the sums of four gates, 1×3×16, not 1×3×12"),
        ([(1, 3, 4), (1, 3, 16), (3,)], "takes one cont for each stream, 1×3, not 3"),
    ],
)
def test_what_does_not_fit_a_unit(shapes: list[tuple[int, ...]], expected: str) -> None:
    source = given(**{f"x{j}": shape for j, shape in enumerate(shapes)}) + (
        'layer { name: "L" type: "LSTMUnit" bottom: "x0" bottom: "x1" bottom: "x2" top: "c" top: "h" }'
    )
    with pytest.raises(NetError, match="L") as error:
        Net(net_from_text(source, "net.prototxt"))
    assert expected in str(error.value)
