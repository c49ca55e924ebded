"""Which pixels a correlation reads and writes, and how its weights and the rows that it copies lie in memory."""

from dataclasses import dataclass

import numpy as np

from caffelite.kernels.tiles.vectors import WIDTH


@dataclass(frozen=True, slots=True)
class Filters:
    """The weights of a correlation, as they lie in memory.

    Attributes
    ----------
    values : ndarray, one axis
        The weight k of output o of group g is ``values[g * group_step + o * output_step + offsets[k]]``.
    bias : ndarray, one axis
        One value an output channel of all groups; empty where there is none.
    offsets : ndarray of int64, [channels of a group * taps]
    output_step, group_step : int
    """

    values: np.ndarray
    bias: np.ndarray
    offsets: np.ndarray
    output_step: int
    group_step: int


@dataclass(frozen=True, slots=True)
class View:
    """Which input pixels a correlation reads, and which output pixels it makes; pairs are (vertical, horizontal).

    Attributes
    ----------
    down, across : ndarray of int64, [taps]
        Offset of each tap from the first pixel of the padded map, in pixels.
    pads : (int, int)
        Zeros above and left of the map; negative to leave pixels out.
    stride : (int, int)
        From one output pixel to the next, in the input.
    result : (int, int)
        Number of output pixels that are made.
    first : int
        Where in the output map the first of them goes.
    steps : (int, int)
        From one of them to the next, in the output map.
    """

    down: np.ndarray
    across: np.ndarray
    pads: tuple[int, int]
    stride: tuple[int, int]
    result: tuple[int, int]
    first: int = 0
    steps: tuple[int, int] = (1, 1)

    @property
    def one_tap(self) -> bool:
        """Whether a result reads one pixel of each channel, the first of its window."""
        return len(self.down) == 1 and not self.down[0] and not self.across[0]


@dataclass(frozen=True, slots=True)
class Layout:
    """How the rows of input that a band needs lie in scratch memory: [channels][rows][phases][pitch].

    Attributes
    ----------
    phases : ndarray of int64
        The horizontal phases that taps read.
    row_used : ndarray of int64, [vertical stride]
        Whether taps read the rows of a vertical phase.
    span : int
        Rows that the taps of one line span.
    """

    phases: np.ndarray
    row_used: np.ndarray
    span: int
    pitch: int

    @property
    def row_pitch(self) -> int:
        """Floats of a row."""
        return len(self.phases) * self.pitch

    def offsets(self, view: View, channels: int, rows: int) -> np.ndarray:
        """Return where each tap of each channel reads, from the first pixel on: int64, [channels * taps].

        ``rows`` is the number of rows of a channel.
        """
        across = np.searchsorted(self.phases, view.across % view.stride[1]) * self.pitch + view.across // view.stride[1]
        taps = view.down * self.row_pitch + across
        return (np.arange(channels)[:, None] * rows * self.row_pitch + taps).reshape(-1).astype(np.int64)

    def rows(self, lines: int) -> int:
        """Rows of input that a number of lines needs."""
        return (lines - 1) * len(self.row_used) + self.span


def layout_of(view: View, width: int) -> Layout:
    """Return the layout for lines of ``width`` results."""
    down, across, stride = view.down, view.across, view.stride
    phases = np.unique(across % stride[1]).astype(np.int64) if len(across) else np.zeros(1, np.int64)
    row_used = np.isin(np.arange(stride[0]), down % stride[0]).astype(np.int64)
    pitch = width + int(across.max(initial=0)) // stride[1]
    return Layout(phases, row_used, int(down.max(initial=0)) + 1, pitch)


def reads_the_image(x: np.ndarray, view: View) -> bool:
    """Whether what the pixels of a vector read lies side by side in the input itself."""
    plain = view.stride == view.steps == (1, 1) and view.pads == (0, 0) and view.result == x.shape[2:]
    return view.one_tap and plain and x.shape[2] * x.shape[3] >= WIDTH
