"""What the layers of a net take, and how much they compute and move: what their times are held against."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from caffelite.kernels.engine.team import TEAM
from caffelite.layers.contract.blobs import Blob
from caffelite.net.fusion import Unit
from caffelite.net.graph import Version


@dataclass(slots=True)
class LayerTime:
    """What a layer takes.

    Attributes
    ----------
    name, type : str
        Those of layers that run as one have ``+`` between them.
    forward, backward : float
        Seconds a pass.
    waited : float
        Seconds of both in which the thread that calls had nothing left to do and waited for others.
    """

    name: str
    type: str
    forward: float
    backward: float
    waited: float = 0.0


def profile(
    units: Sequence[Unit], forward_unit: Callable[[int], None], iterations: int, backward: bool = True
) -> list[LayerTime]:
    """Run forward and backward and return the mean time of each unit.

    Parameters
    ----------
    units : sequence of Unit
    forward_unit : callable
        Runs the unit at a position forward.
    iterations : int
        How often.
    backward : bool, optional
        Whether to run backward too.
    """
    times = [LayerTime(_joined(unit, "name"), _joined(unit, "type"), 0.0, 0.0) for unit in units]
    for _ in range(iterations):
        for position, time in enumerate(times):
            waited = TEAM.waited()
            time.forward -= perf_counter()
            forward_unit(position)
            time.forward += perf_counter()
            time.waited += TEAM.waited() - waited
        for unit, time in zip(reversed(units), reversed(times), strict=True) if backward else ():
            waited = TEAM.waited()
            time.backward -= perf_counter()
            for step in unit.backward:
                step()
            time.backward += perf_counter()
            time.waited += TEAM.waited() - waited
    for time in times:
        time.forward /= iterations
        time.backward /= iterations
        time.waited /= iterations
    return times


def _joined(unit: Unit, field: str) -> str:
    return "+".join(getattr(node.layer.param, field) for node in unit.nodes)


@dataclass(slots=True)
class LayerWork:
    """What a layer, or a chain of layers that run as one kernel, has to do in a pass.

    Attributes
    ----------
    forward_multiply_adds, backward_multiply_adds : int
        Products that are summed: see :meth:`caffelite.layers.contract.layer.Layer.multiply_adds`.
    forward_bytes, backward_bytes : int
        Bytes read and written: see :func:`work_of`.
    """

    forward_multiply_adds: int = 0
    backward_multiply_adds: int = 0
    forward_bytes: int = 0
    backward_bytes: int = 0


def work_of(unit: Unit, dtype: np.dtype) -> LayerWork:
    """Return what a unit of a plan has to do, for the shapes of the last pass.

    Each array counts once and in whole, whether it is read, written or both, and wherever its memory is. Forward:
    bottoms, parameters and tops. Backward: the gradients of the tops, and those of the bottoms and parameters that are
    computed; what of the bottoms and the tops is read again; and the parameters where a bottom gets a gradient. Arrays
    of a layer's own and those inside a chain do not count, nor does the sum where several layers read a blob. A layer
    that only gives its bottom another shape, or has nothing to compute, has no bytes.
    """
    work = LayerWork()
    parameters = [blob for node in unit.nodes for blob in node.layer.blobs]
    computed = [j for j, _ in unit.gradients()]
    bottoms = stand_ins(unit.bottoms, computed, dtype)
    tops = stand_ins(unit.tops, _with_gradient(unit.tops), dtype)
    if unit.forward:
        work.forward_bytes = _size(blob.data for blob in [*bottoms, *parameters, *tops])
    if unit.backward and not unit.is_view:
        read = [*bottoms] if "bottom" in unit.backward_reads else []
        read += tops if "top" in unit.backward_reads else []
        read += parameters if computed else []
        gradients = (blob.diff for blob in [*bottoms, *parameters, *tops])
        work.backward_bytes = _size(blob.data for blob in read) + _size(diff for diff in gradients if diff is not None)
    for node in unit.nodes:
        propagate = [j for j, propagated in enumerate(node.propagate) if propagated]
        forward, backward = node.layer.multiply_adds(
            stand_ins(node.bottoms, propagate, dtype), stand_ins(node.tops, _with_gradient(node.tops), dtype)
        )
        work.forward_multiply_adds += forward
        work.backward_multiply_adds += backward if node.backward else 0
    return work


def stand_ins(versions: Sequence[Version], gradients: Sequence[int], dtype: np.dtype) -> list[Blob]:
    """Return blobs of the right sizes, those with these numbers with a gradient; they have no memory of their own."""
    arrays = [np.broadcast_to(dtype.type(0), version.shape) for version in versions]
    return [
        Blob(version.name, array, array if j in gradients else None)
        for j, (version, array) in enumerate(zip(versions, arrays, strict=True))
    ]


def _with_gradient(versions: Sequence[Version]) -> list[int]:
    return [j for j, version in enumerate(versions) if version.gradient]


def _size(arrays: Iterable[np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays)
