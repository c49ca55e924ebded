"""What a layer may know of the net around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from caffelite.data.share import Share, whole
from caffelite.kernels.engine import arrays
from caffelite.layers.contract.group import ALONE, PIECES, TURNS, Group
from caffelite.user_code.permission import AllowPython
from caffelite.words import TEST, TRAIN, Shape


@dataclass(slots=True)
class Context:
    """What a layer may know of the net around it.

    Attributes
    ----------
    phase : int
        ``TRAIN`` (0) or ``TEST`` (1).
    seed : int
        From it every random number of the net is derived.
    global_stats : bool or None
        Overrides ``use_global_stats`` of every BatchNorm in the net; None leaves it as set.
    allow_python : bool or "imported"
        Whether code that the net names may run: see :mod:`caffelite.user_code.permission`.
    home : Path
        The folder of the prototxt.
    output_root : Path or None
        The folder that layers write files to, and to nothing outside it; None: they write none.
    variants : mapping of type to type
        Classes of layers to take in place of others: those whose kernels run on ``device``.
    device : object or None
        What they run on; None: the CPU.
    group : Group
        The processes that share the work.
    dealing : {"pieces", "turns"}
        How batches are dealt out among them: see :meth:`.Group.deal`.
    piece : Share or None
        What of a batch is this process's own, in the numbers of the first source that said so.
    statistics : Group
        Those over whose images statistics of a batch are taken: ``group``, or this process alone.
    """

    phase: int = TRAIN
    seed: int = 1
    global_stats: bool | None = None
    allow_python: AllowPython = False
    home: Path = field(default_factory=Path)
    output_root: Path | None = None
    variants: Mapping[type, type] = field(default_factory=dict)
    device: object = None
    group: Group = ALONE
    dealing: str = PIECES
    piece: Share | None = None
    statistics: Group = ALONE
    _shared: arrays.Pool = field(default_factory=arrays.Pool)

    @property
    def together(self) -> Group:
        """The processes whose batches are one batch; in TEST each of those that take turns has one of its own."""
        return ALONE if self.phase == TEST and self.dealing == TURNS else self.group

    @property
    def part(self) -> float:
        """What part of the batch is this process's own; of a net without a source, equal parts."""
        if self.together.size == 1:
            return 1.0
        return 1 / self.together.size if self.piece is None else self.piece.count / self.piece.stride

    def over_batch(self, values: ArrayLike) -> np.ndarray:
        """Return sums of numbers over the processes that share a batch, float64."""
        total = np.array(values, np.float64)
        self.together.sum(total)
        return total

    def place_in_batch(self, values: int) -> tuple[int, int]:
        """Return how many values of the batch come before this process's own, and how many it has in all.

        Parameters
        ----------
        values : int
            How many are its own: as many an image.
        """
        piece = self.piece or whole(1)
        return values * piece.first // piece.count, values * piece.stride // piece.count

    def scratch(self, shape: Shape, dtype: np.dtype) -> np.ndarray:
        """Return memory that holds something only from one step of a layer to its next one: all layers share it."""
        return self._shared.take(shape, dtype=dtype)[0]
