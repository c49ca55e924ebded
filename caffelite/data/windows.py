"""Windows in images, foreground and background in a fixed proportion, as R-CNN is trained on them."""

import math
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np

from caffelite.data.draws import below
from caffelite.data.images import ItemBatches, decode_image
from caffelite.data.resizing import resize
from caffelite.data.share import Share
from caffelite.data.transform import read_mean
from caffelite.errors import DataError
from caffelite.schema.messages import TransformationParameter, WindowDataParameter
from caffelite.words import Shape, quoted, text_of

_F = np.float32
#: Coordinates this far out, or none at all (NaN), are a mistake.
_FAR = 1e9


class Place(NamedTuple):
    """Where the pixels of a window come from and where they go.

    Attributes
    ----------
    x1, y1, x2, y2 : int
        Their corners in the image, the last ones included.
    width, height : int
        What they are resized to.
    left, right, top : int
        How many empty columns and rows are before, behind and above them.
    """

    x1: int
    y1: int
    x2: int
    y2: int
    width: int
    height: int
    left: int
    right: int
    top: int


def place_window(box: tuple[int, int, int, int], size: tuple[int, int], crop: int, pad: int, square: bool) -> Place:
    """Return the place of a window, with context around it.

    Parameters
    ----------
    box : (int, int, int, int)
        Corners x1, y1, x2, y2, the last ones included.
    size : (int, int)
        Height and width of the image.
    crop : int
        Width and height that the window, with its context, becomes.
    pad : int
        How many pixels of context are then on each side.
    square : bool
        Whether the window is first made a square.
    """
    x1, y1, x2, y2 = box
    if not pad and not square:
        return Place(x1, y1, x2, y2, crop, crop, 0, 0, 0)
    # In float32, as in Caffe: the corners are rounded, and so depend on it.
    context = _F(crop) / _F(crop - 2 * pad)
    half_height, half_width = _F(y2 - y1 + 1) / _F(2), _F(x2 - x1 + 1) / _F(2)
    center_x, center_y = _F(x1) + half_width, _F(y1) + half_height
    if square:
        half_height = half_width = max(half_height, half_width)
    x1, x2 = _round(center_x - half_width * context), _round(center_x + half_width * context)
    y1, y2 = _round(center_y - half_height * context), _round(center_y + half_height * context)
    scale_x, scale_y = _F(crop) / _F(x2 - x1 + 1), _F(crop) / _F(y2 - y1 + 1)
    outside = max(0, -x1), max(0, -y1), max(0, x2 - size[1] + 1), max(0, y2 - size[0] + 1)
    x1, y1, x2, y2 = x1 + outside[0], y1 + outside[1], x2 - outside[2], y2 - outside[3]
    width, height = _round(_F(x2 - x1 + 1) * scale_x), _round(_F(y2 - y1 + 1) * scale_y)
    left, right = _round(_F(outside[0]) * scale_x), _round(_F(outside[2]) * scale_x)
    return Place(x1, y1, x2, y2, width, height, left, right, _round(_F(outside[1]) * scale_y))


def _round(value: float | np.floating) -> int:
    """Round as C does, halves away from 0."""
    return int(math.copysign(math.floor(abs(float(value)) + 0.5), value))


class WindowStream:
    """Windows drawn at random, as batches: those of the background first, then the foreground.

    Parameters
    ----------
    settings : WindowDataParameter
    share : Share
        Of the batches.
    param : TransformationParameter
    seed : int
    where : callable
        ``where(setting)`` gives the place for errors.
    """

    #: Windows are drawn, never counted through.
    epoch_size = 0

    def __init__(
        self,
        settings: WindowDataParameter,
        share: Share,
        param: TransformationParameter,
        seed: int,
        where: Callable[[str], str],
    ) -> None:
        self.settings, self.share, self.seed, self._where = settings, share, seed, where
        self.crop: int = param.crop_size
        self.mirror: bool = param.mirror
        foreground = int(_F(settings.batch_size) * _F(settings.fg_fraction))
        self.background = settings.batch_size - foreground
        self._images: list[str] = []
        self._cache: dict[str, bytes] = {}
        self._windows = self._read()
        for kind, number in enumerate((self.background, foreground)):
            if number and not len(self._windows[kind]):
                name = ("background", "foreground")[kind]
                raise DataError(f"{settings.source} has no {name} windows, and {number} of a batch are to be some")
        self.mean = self._mean(param)

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows of background and foreground: image, label, x1, y1, x2, y2."""
        kinds: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
        try:
            with Path(self.settings.source).open(encoding="utf-8", errors="surrogateescape") as file:
                lines = ((number, line.strip()) for number, line in enumerate(file, 1) if line.strip())
                for number, line in lines:
                    self._read_image(number, line, lines, kinds)
        except OSError as error:
            raise DataError(
                f"the list of windows {quoted(self.settings.source)} cannot be read: {error.strerror}"
            ) from None
        if not self._images:
            raise DataError(f"the list of windows {quoted(self.settings.source)} is empty")
        background, foreground = (np.concatenate(parts) for parts in kinds)
        return background, foreground

    def _read_image(
        self, number: int, line: str, lines: Iterator[tuple[int, str]], kinds: tuple[list[np.ndarray], list[np.ndarray]]
    ) -> None:
        if line.split() != ["#", str(len(self._images))]:
            self._broken(number, f'"# {len(self._images)}" is expected, where an image begins')
        path = next(lines, (number, ""))[1]
        try:
            channels, _, _, count = (int(text) for _, text in islice(lines, 4))
            rows = list(islice(lines, count))
            values = np.array(" ".join(text for _, text in rows).split(), np.float64).reshape(count, 6)
            if not (np.abs(values) < _FAR).all():
                raise ValueError
        except ValueError:
            self._broken(
                number,
                "the path of an image, channels, height, width, the number of windows and then each window's "
                '"class overlap x1 y1 x2 y2" must follow',
            )
        if channels != 3:
            self._broken(number, f"the image has {channels} channels, expected 3: windows are read in colour")
        overlap, boxes = values[:, 1].astype(_F), values[:, 2:].astype(np.int64)
        is_fore = overlap >= _F(self.settings.fg_threshold)
        is_back = ~is_fore & (overlap < _F(self.settings.bg_threshold))
        label = np.where(is_fore, values[:, 0].astype(np.int64), 0)
        if (label[is_fore] < 1).any():
            bad = rows[int(np.flatnonzero(is_fore & (label < 1))[0])][0]
            self._broken(bad, "the class of a foreground window is above 0")
        windows = np.column_stack([np.full(count, len(self._images)), label, boxes])
        kinds[0].append(windows[is_back])
        kinds[1].append(windows[is_fore])
        self._images.append(self.settings.root_folder + path)

    def _broken(self, number: int, text: str) -> NoReturn:
        raise DataError(f"{self.settings.source}:{number}: {text}")

    def _mean(self, param: TransformationParameter) -> np.ndarray:
        """Return what is subtracted, channels x crop x crop."""
        mean, whole = np.zeros((3, self.crop, self.crop), _F), read_mean(param, 3, self._where)
        if param.HasField("mean_file"):
            # Caffe takes the margin of the width for the height too.
            first = (whole.shape[-1] - self.crop) // 2
            if whole.size != 3 * math.prod(whole.shape[-2:]) or first < 0 or whole.shape[-2] < first + self.crop:
                raise DataError(
                    f'{self._where("mean_file")}: mean file "{param.mean_file}" has shape {text_of(whole.shape)}, of '
                    f"which {text_of(mean.shape)} cannot be taken"
                )
            middle = slice(first, first + self.crop)
            whole = whole.reshape(3, *whole.shape[-2:])[:, middle, middle]
        mean[...] = whole
        return mean

    def window(self, foreground: bool, bits: np.ndarray) -> np.ndarray:
        """Return a window: the number of its image, its label, x1, y1, x2, y2."""
        windows = self._windows[foreground]
        return windows[int(below(bits, len(windows)))]

    def cut(self, window: np.ndarray, mirrored: bool, out: np.ndarray) -> None:
        """Put a window into ``out``, channels x crop x crop."""
        path, what = self._images[window[0]], f'image "# {window[0]}" of {self.settings.source}'
        if self.settings.cache_images and path not in self._cache:
            try:
                self._cache[path] = Path(path).read_bytes()
            except OSError as error:
                raise DataError(f"{what}: {error.strerror}") from None
        image = decode_image(self._cache.get(path, path), what, True)
        x1, y1, x2, y2 = (int(n) for n in window[2:])
        square, size = self.settings.crop_mode == "square", image.shape[1:]
        place = place_window((x1, y1, x2, y2), size, self.crop, self.settings.context_pad, square)
        if not (0 <= place.x1 <= place.x2 < size[1] and 0 <= place.y1 <= place.y2 < size[0]):
            raise DataError(f"{what} has shape {text_of(image.shape)}, and no window from {x1}, {y1} to {x2}, {y2}")
        left = place.right if mirrored else place.left
        width, height = min(place.width, self.crop - left), min(place.height, self.crop - place.top)
        out.fill(0)
        if width < 1 or height < 1:
            return
        pixels = resize(image[:, place.y1 : place.y2 + 1, place.x1 : place.x2 + 1], height, width)
        target = np.s_[:, place.top : place.top + height, left : left + width]
        np.subtract(pixels[:, :, ::-1] if mirrored else pixels, self.mean[target], out=out[target])
        out[target] *= _F(self.settings.scale)

    @property
    def batch_shape(self) -> Shape:
        return (self.share.count, 3, self.crop, self.crop)

    def batches(self, number: int) -> ItemBatches:
        return ItemBatches(self.share, self.batch_shape[1:], number, self.seed, self._put)

    def _put(self, position: int, index: int, bits: np.ndarray, out: np.ndarray) -> int:
        window = self.window(index % self.settings.batch_size >= self.background, bits[0])
        self.cut(window, self.mirror and bool(bits[1] >> np.uint64(63)), out)
        return int(window[1])

    def sample(self) -> bytes:
        return repr((self._images, [windows.tolist() for windows in self._windows])).encode()

    def close(self) -> None:
        self._cache.clear()
