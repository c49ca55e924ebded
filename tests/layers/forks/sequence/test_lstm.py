"""Lstm against a plain computation as its forks do it."""

import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.schema.text import net_from_text

TIME, INPUTS, SIZE = 5, 4, 3


def given(name: str, shape: tuple[int, ...]) -> str:
    dims = " ".join(f"dim: {n}" for n in shape)
    return f'layer {{ name: "in_{name}" type: "Input" top: "{name}" input_param {{ shape {{ {dims} }} }} }}\n'


def text(x: tuple[int, ...], clip: tuple[int, ...] | None, settings: str) -> str:
    filler = '{ type: "uniform" min: -1 max: 1 }'
    return (
        "force_backward: true\n"
        + given("x", x)
        + (given("clip", clip) if clip else "")
        + f'layer {{ name: "L" type: "Lstm" bottom: "x" {"""bottom: "clip" """ if clip else ""} top: "y" lstm_param {{ '
        f"{settings} weight_filler {filler} bias_filler {filler} }} }}\n"
    )


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def forward(x: np.ndarray, cont: np.ndarray, w: list[np.ndarray], h: np.ndarray, c: np.ndarray) -> tuple:  # type: ignore[type-arg]
    """Return h and c of all steps, with those before the first, and the gates."""
    hs, cs, gates = [h], [c], []
    for t in range(len(x)):
        go_on = cont[t][:, None]
        sums = x[t] @ w[0].T + w[2] + go_on * (hs[-1] @ w[1].T)
        i, f, o = (sigmoid(part) for part in np.split(sums, 4, axis=1)[:3])
        g = np.tanh(np.split(sums, 4, axis=1)[3])
        cs.append(go_on * f * cs[-1] + i * g)
        hs.append(o * np.tanh(cs[-1]))
        gates.append((i, f * go_on, o, g))
    return np.stack(hs), np.stack(cs), gates


def backward(x, cont, w, hs, cs, gates, dy, limit):  # type: ignore[no-untyped-def]
    """Return the gradients of x, Wx, Wh and b."""
    dh, dc, dx = np.zeros_like(hs[0]), np.zeros_like(cs[0]), np.zeros_like(x)
    dw = [np.zeros_like(a) for a in w]
    for t in reversed(range(len(x))):
        i, f, o, g = gates[t]
        dh = dh + dy[t]
        th = np.tanh(cs[t + 1])
        dc = dc + dh * o * (1 - th**2)
        parts = [dc * g * i * (1 - i), dc * cs[t] * f * (1 - f), dh * th * o * (1 - o), dc * i * (1 - g**2)]
        d = np.concatenate(parts, axis=1)
        if limit:
            d = np.clip(d, -limit, limit)
        dc = dc * f
        dh = cont[t][:, None] * (d @ w[1])
        dx[t] = d @ w[0]
        dw[0] += d.T @ x[t]
        dw[1] += d.T @ hs[t] if t else np.outer(d[0], hs[0][0])
        dw[2] += d.sum(axis=0)
    return dx, *dw


CASES = {
    "sequences": ((TIME, 4, 2, 2), None, ""),
    "clipped": ((TIME, 3, INPUTS), None, "clipping_threshold: 0.02"),
    "indicated": ((TIME, INPUTS), (TIME, 1), "clipping_threshold: 0.3"),
    "streams": ((2 * TIME, 2, 2, 1), (2 * TIME,), "batch_size: 2"),
}


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_a_plain_computation(case: str) -> None:
    x_shape, clip_shape, settings = CASES[case]
    source = text(x_shape, clip_shape, f"num_output: {SIZE} {settings}")
    net = Net(net_from_text(source, "net.prototxt"), keep=True)
    rng = np.random.default_rng(2)
    streams = int(np.prod(x_shape)) // TIME // INPUTS
    w = [blob.data.astype(np.float64) for blob in net.params["L"]]
    assert [a.shape for a in w] == [(4 * SIZE, INPUTS), (4 * SIZE, SIZE), (4 * SIZE,)]
    assert net.blobs["y"].shape == (
        (TIME * streams, SIZE) if case in ("indicated", "streams") else (TIME, streams, SIZE)
    )
    limit = 0.02 if case == "clipped" else 0.3 if case == "indicated" else 0
    h, c = np.zeros((2, streams, SIZE))
    for _ in range(2):
        net.blobs["x"].data[...] = rng.standard_normal(x_shape)
        cont = np.ones((TIME, streams))
        cont[0] = 0
        if clip_shape:
            cont[2, 0] = 0
            cont[0, -1] = 1
            net.blobs["clip"].data[...] = cont.reshape(clip_shape)
        x = net.blobs["x"].data.reshape(TIME, streams, INPUTS).astype(np.float64)
        hs, cs, gates = forward(x, cont, w, h, c)
        net.forward()
        y = net.blobs["y"]
        np.testing.assert_allclose(y.data.reshape(TIME, streams, SIZE), hs[1:], atol=1e-6)
        dy = rng.standard_normal((TIME, streams, SIZE))
        y.diff[...] = dy.reshape(y.shape)  # type: ignore[index]
        net.zero_grad()
        net.backward()
        found = [net.blobs["x"].diff, *[blob.diff for blob in net.params["L"]]]
        for mine, expected in zip(found, backward(x, cont, w, hs, cs, gates, dy, limit), strict=True):
            np.testing.assert_allclose(mine.reshape(expected.shape), expected, atol=2e-5)  # type: ignore[union-attr]
        if clip_shape:
            h, c = hs[-1], cs[-1]
    assert sorted(net.state()) == (["L/c", "L/h"] if clip_shape else [])


@pytest.mark.parametrize(
    ("x", "clip", "settings", "expected"),
    [
        ((4, 3), None, "", "lstm_param needs num_output of at least 1"),
        ((4, 3), None, "num_output: 2 batch_size: 0", "batch_size is 0, expected 1 or more"),
        ((4, 3), None, "num_output: 2 clipping_threshold: -1", "clipping_threshold is -1, expected 0 (none) or more"),
        ((4,), None, "num_output: 2", "takes time steps × streams × values, not 4"),
        ((4, 3), None, "num_output: 2 batch_size: 3", "4 rows of 4×3 are not divisible by batch_size 3"),
        ((4, 3, 5), (4,), "num_output: 2", "takes a number for each of 4 time steps of 3 streams, not 4"),
    ],
)
def test_what_does_not_fit(x: tuple[int, ...], clip: tuple[int, ...] | None, settings: str, expected: str) -> None:
    with pytest.raises(NetError) as error:
        Net(net_from_text(text(x, clip, settings), "net.prototxt"))
    assert str(error.value).endswith(expected)
    assert 'layer "L"' in str(error.value)
