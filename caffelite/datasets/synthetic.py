"""The built-in set: drawn images for a machine without the originals.

Ten shapes in colour (32×32) and ten digits in grey (28×28), each with random place, size, angle, colours,
contrast, background and noise. Image number n is a function of n alone. What a linear classifier can use, the
average image of a class, is nearly the same for all classes: it stays far below 75%, while small
convolutional nets learn the sets.
"""

from collections.abc import Callable, Iterator

import numpy as np

from caffelite.data.draws import below, draws, uniform
from caffelite.datasets.originals import CHUNK, Chunk

_SHAPE_SEED, _DIGIT_SEED, _NOISE_SEED = 101, 202, 303
_CLASSES = 10

_Path = list[list[float]]


class _Dice:
    """The random numbers of a run of images, one column after another."""

    def __init__(self, seed: int, first: int, count: int, columns: int) -> None:
        self._bits = draws(seed, first, count, columns)
        self._next = 0

    def label(self) -> np.ndarray:
        return below(self._column(1)[:, 0], _CLASSES)

    def pick(self, low: float, high: float, width: int = 1) -> np.ndarray:
        """Return (count, width) float32 numbers from ``low`` to ``high``."""
        return uniform(self._column(width), low, high)

    def _column(self, width: int) -> np.ndarray:
        start = self._next
        self._next += width
        return self._bits[:, start : self._next]


def _chunks(draw: Callable[[int, int], Chunk], first: int, count: int) -> Iterator[Chunk]:
    for start in range(first, first + count, CHUNK):
        yield draw(start, min(CHUNK, first + count - start))


def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of the pixels, (1, size²), from -1 to 1 between the centres of the outermost ones."""
    y, x = np.mgrid[0:size, 0:size].reshape(2, 1, -1).astype(np.float32)
    return x / ((size - 1) / 2) - 1, y / ((size - 1) / 2) - 1


def _noise(first: int, count: int, values: int) -> np.ndarray:
    """Return (count, values) of noise, nearly normal with deviation 1: the sum of four random bytes."""
    words = draws(_NOISE_SEED, first, count, (values + 1) // 2)
    octets = words.view(np.uint8).reshape(count, -1, 4)
    total = octets.astype(np.float32).sum(axis=2)[:, :values]
    return (total - 510) * np.float32(1 / 147.8)


def shapes(first: int, count: int) -> Iterator[Chunk]:
    """Yield colour images (n, 3, 32, 32) uint8 and labels (n,) uint8, for image numbers from ``first`` on."""
    return _chunks(_draw_shapes, first, count)


def _draw_shapes(first: int, count: int) -> Chunk:
    dice = _Dice(_SHAPE_SEED, first, count, 24)
    labels = dice.label()
    angle, size = dice.pick(-0.6, 0.6), dice.pick(0.42, 0.75)
    stretch = dice.pick(0.85, 1.18)
    centre = dice.pick(-0.3, 0.3, 2)
    inks, light = dice.pick(0, 255, 6), dice.pick(60, 130)
    wave, phase = dice.pick(-9, 9, 4), dice.pick(0, 6.2832, 2)
    texture, slope = dice.pick(5, 28), dice.pick(-30, 30, 2)
    grain = dice.pick(4, 20)

    x, y = _grid(32)
    u, v = x - centre[:, :1], y - centre[:, 1:]
    cosine, sine = np.cos(angle) / size, np.sin(angle) / size
    u, v = (u * cosine + v * sine) * stretch, (v * cosine - u * sine) / stretch
    distance = np.empty_like(u)
    for label, shape in enumerate(_SHAPES):
        chosen = labels == label
        distance[chosen] = shape(u[chosen], v[chosen])
    # One pixel is 2/31 wide: the edge is blurred over about one.
    cover = np.clip(0.5 - distance * size * 15.5, 0, 1)

    background = texture * np.sin(x * wave[:, :1] + y * wave[:, 1:2] + phase[:, :1])
    background += slope[:, :1] * x + slope[:, 1:] * y
    stripes = texture * np.sin(x * wave[:, 2:3] + y * wave[:, 3:] + phase[:, 1:])
    ground, ink = inks[:, :3], inks[:, 3:]
    # A shape must differ from its ground: where the colours are close, the ink moves away.
    apart = (ink - ground).mean(axis=1, keepdims=True)
    away = np.where(ground.mean(axis=1, keepdims=True) > 127, -light, light)
    ink = ink + np.where(np.abs(apart) < light, away - apart, 0)
    image = (ground[:, :, None] + background[:, None]) * (1 - cover[:, None])
    image += (ink[:, :, None] + stripes[:, None]) * cover[:, None]
    image += _noise(first, count, 3 * 32 * 32).reshape(count, 3, -1) * grain[:, :, None]
    return np.clip(image, 0, 255).astype(np.uint8).reshape(count, 3, 32, 32), labels.astype(np.uint8)


def _box(u: np.ndarray, v: np.ndarray, width: float, height: float) -> np.ndarray:
    return np.maximum(np.abs(u) - width, np.abs(v) - height)


def _disc(u: np.ndarray, v: np.ndarray, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    return np.sqrt((u - x) ** 2 + (v - y) ** 2)


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u) * 0.866 - v * 0.5, v) - 0.55


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return _disc(u, v) - 0.72 - 0.32 * np.cos(5 * np.arctan2(u, -v))


def _crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(_disc(u, v) - 1, 0.85 - _disc(u, v, 0.5))


def _cross(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.minimum(_box(u, v, 1.0, 0.3), _box(u, v, 0.3, 1.0))


#: Signed distances, nearly: negative inside a shape of about unit size.
_SHAPES: list[Callable[[np.ndarray, np.ndarray], np.ndarray]] = [
    lambda u, v: _disc(u, v) - 0.9,
    lambda u, v: np.abs(_disc(u, v) - 0.75) - 0.22,
    lambda u, v: _box(u, v, 0.8, 0.8),
    lambda u, v: np.abs(_box(u, v, 0.7, 0.7)) - 0.2,
    _triangle,
    _cross,
    _star,
    _crescent,
    lambda u, v: _box(u, np.abs(v) - 0.5, 0.95, 0.24),
    lambda u, v: _disc(np.abs(u), v, 0.55) - 0.42,
]


def digits(first: int, count: int) -> Iterator[Chunk]:
    """Yield grey images (n, 1, 28, 28) uint8 and labels (n,) uint8, for image numbers from ``first`` on."""
    return _chunks(_draw_digits, first, count)


def _arc(x: float, y: float, width: float, height: float, begin: float, end: float, steps: int) -> _Path:
    """Return points of an ellipse's arc; angles in quarter turns, 0 to the right, 1 down."""
    turns = np.linspace(begin, end, steps + 1) * np.pi / 2
    return [[x + width * float(np.cos(t)), y + height * float(np.sin(t))] for t in turns]


#: The pen's path through each digit, in a box from -1 to 1 with y down. All have the same number of points.
_STROKES: list[_Path] = [
    _arc(0, 0, 0.6, 0.95, -1, 3, 10),
    [[-0.35, -0.6], [0.05, -0.95], [0.05, 0.95]],
    [*_arc(0, -0.45, 0.55, 0.5, -2.2, 0.5, 6), [-0.6, 0.95], [0.6, 0.95]],
    [*_arc(-0.05, -0.48, 0.5, 0.47, -2.1, 1, 5), *_arc(-0.05, 0.47, 0.6, 0.48, -1, 2.2, 5)],
    [[0.35, 0.95], [0.35, -0.95], [-0.65, 0.35], [0.65, 0.35]],
    [[0.5, -0.95], [-0.45, -0.95], [-0.5, -0.15], *_arc(-0.05, 0.35, 0.6, 0.6, -1.4, 1.9, 7)],
    [[0.4, -0.95], [-0.3, -0.35], *_arc(0, 0.4, 0.55, 0.55, -2.4, 1.8, 8)],
    [[-0.6, -0.95], [0.6, -0.95], [0.1, 0.0], [-0.15, 0.95]],
    [*_arc(0, -0.47, 0.45, 0.45, 1, 5, 5), *_arc(0, 0.47, 0.55, 0.5, -1, 3, 5)],
    [*_arc(-0.05, -0.4, 0.5, 0.5, 0, 4, 7), [0.45, 0.1], [0.3, 0.95]],
]
_POINTS = max(len(stroke) for stroke in _STROKES)


def _draw_digits(first: int, count: int) -> Chunk:
    dice = _Dice(_DIGIT_SEED, first, count, 20 + 2 * _POINTS)
    labels = dice.label()
    angle, slant = dice.pick(-0.3, 0.3), dice.pick(-0.35, 0.35)
    width, height = dice.pick(0.4, 0.75), dice.pick(0.5, 0.8)
    centre, pen = dice.pick(-0.2, 0.2, 2), dice.pick(0.05, 0.13)
    ground, ink = dice.pick(0, 60), dice.pick(130, 255)
    wave, phase = dice.pick(-5, 5, 2), dice.pick(0, 6.2832)
    texture, grain, turned = dice.pick(0, 20), dice.pick(2, 18), dice.pick(0, 1) < 0.4
    shake = dice.pick(-0.1, 0.1, 2 * _POINTS).reshape(count, _POINTS, 2)

    x, y = _grid(28)
    nearest = np.full((count, x.size), np.inf, np.float32)
    cosine, sine = np.cos(angle), np.sin(angle)
    for label, stroke in enumerate(_STROKES):
        chosen = np.flatnonzero(labels == label)
        points = np.array(stroke, np.float32) + shake[chosen, : len(stroke)]
        px = (points[:, :, 0] - slant[chosen] * points[:, :, 1]) * width[chosen]
        py = points[:, :, 1] * height[chosen]
        px, py = px * cosine[chosen] - py * sine[chosen], px * sine[chosen] + py * cosine[chosen]
        px, py = px + centre[chosen, :1], py + centre[chosen, 1:]
        near = nearest[chosen]
        for k in range(len(stroke) - 1):
            near = np.minimum(near, _to_segment(x, y, px[:, k : k + 2], py[:, k : k + 2]))
        nearest[chosen] = near
    cover = np.clip(0.5 - (np.sqrt(nearest) - pen) * 13.5, 0, 1)
    image = ground + texture * np.sin(x * wave[:, :1] + y * wave[:, 1:] + phase)
    image += (ink - image) * cover + _noise(first, count, 28 * 28) * grain
    image = np.where(turned, 255 - image, image)
    return np.clip(image, 0, 255).astype(np.uint8).reshape(count, 1, 28, 28), labels.astype(np.uint8)


def _to_segment(x: np.ndarray, y: np.ndarray, px: np.ndarray, py: np.ndarray) -> np.ndarray:
    """Return the squared distance of every pixel to a line segment of each image."""
    dx, dy = px[:, 1:] - px[:, :1], py[:, 1:] - py[:, :1]
    u, v = x - px[:, :1], y - py[:, :1]
    along = np.clip((u * dx + v * dy) / (dx * dx + dy * dy + np.float32(1e-6)), 0, 1)
    return (u - along * dx) ** 2 + (v - along * dy) ** 2
