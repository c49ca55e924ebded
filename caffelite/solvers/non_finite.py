"""Where a value of a net is not finite: the first layer and blob, and what usually causes it.

The pass is run again on the same batch with every blob kept, and the net is walked layer by layer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from caffelite.layers.contract.blobs import Blob
from caffelite.layers.contract.layer import Layer
from caffelite.net import Net
from caffelite.net.graph import Node
from caffelite.net.parameters import parameters_of
from caffelite.solvers.agreement import first_text
from caffelite.words import quoted

#: Values from here on have run away: products of a few of them are infinite.
_RUN_AWAY = 1e12
RATE_TOO_HIGH = "usually the learning rate is too high: lower base_lr, raise it slowly, or set clip_gradients"
#: What makes a value that is not finite of small ones, by the type of the layer.
_CAUSES = {
    "Log": "it is the logarithm of 0 or of a negative number",
    "Exp": "it is an exponential above the largest float",
    "Power": "it is a power of 0 or of a negative number",
    "BatchNorm": "it divides by a variance: usually one of 0 or of less (see eps)",
    "BN": "it divides by a variance: usually one of 0 or of less (see eps)",
    "MVN": "it divides by a variance: usually one of 0 (see eps)",
    "Normalize": "it divides by a norm: usually one of 0 (see eps)",
}


class Held:
    """Copies of what a pass changes beside blobs and gradients: layers' state, and statistics that are not learned."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._plan: object = None
        self._pairs: list[tuple[np.ndarray, np.ndarray]] = []
        self._state: dict[str, np.ndarray] = {}
        self.take()

    def take(self) -> None:
        """Copy what there is now."""
        if self._plan is not self._net.plan:
            # Layers of a net that was planned again may have other arrays.
            self._plan, state = self._net.plan, self._net.state()
            live = [*state.values()]
            for node in self._net.graph.nodes:
                own = zip(parameters_of(node), node.layer.blobs, strict=True)
                live += [blob.data for parameter, blob in own if not parameter.learned]
            self._pairs = [(array, np.empty_like(array)) for array in live]
            self._state = {key: copy for key, (_, copy) in zip(state, self._pairs, strict=False)}
        for array, copy in self._pairs:
            copy[...] = array

    def put_back(self) -> None:
        """Set all to what was copied, in a net that was planned again since too."""
        for array, copy in self._pairs:
            array[...] = copy
        self._net.load_state(self._state)


@dataclass(frozen=True)
class _Finding:
    """The first array that is not finite, and what was read to compute it."""

    layer: Layer
    what: str
    array: np.ndarray
    read: Sequence[tuple[str, np.ndarray]] = ()
    cause: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        where = f"layer {quoted(self.layer.name)} ({self.layer.param.type}), {self.what}: {described(self.array)}"
        read = ", ".join(f"{name} ({described(array)})" for name, array in self.read)
        return where + (f"; it read {read}" if read else "") + f"; {self.cause or self._cause()}"

    def _cause(self) -> str:
        if any(
            np.abs(array, where=np.isfinite(array), out=np.zeros_like(array)).max(initial=0) >= _RUN_AWAY
            for _, array in self.read
        ):
            return f"the values have run away: {RATE_TOO_HIGH}"
        if self.layer.param.type in _CAUSES:
            return _CAUSES[self.layer.param.type]
        made = "the layer made it of values of a usual size, as by a division by 0 or the logarithm of 0"
        return f"{made}; else {RATE_TOO_HIGH}"


def described(array: np.ndarray) -> str:
    """Return minimum, maximum and mean of the finite values of an array, and how many are not finite."""
    finite = array[np.isfinite(array)]
    parts = []
    if finite.size:
        mean = finite.mean(dtype=np.float64)
        parts.append(f"{finite.min():.4g} to {finite.max():.4g}, mean {mean:.4g}")
    for count, name in ((np.isnan(array).sum(), "NaN"), (np.isinf(array).sum(), "infinite")):
        if count:
            parts.append(f"{count} of {array.size} values {name}")
    return ", ".join(parts) or "no values"


def bad(array: np.ndarray) -> bool:
    """Whether some of the values are not finite."""
    return not np.isfinite(array).all()


def _towards_loss(net: Net) -> set[Node]:
    """Return the layers that a loss depends on: what is not finite elsewhere harms nothing."""
    reached: set[Node] = set()
    for node in reversed(net.graph.nodes):
        if any(v.loss_weight or any(reader in reached for reader, _ in v.readers) for v in node.tops):
            reached.add(node)
    return reached


def _run_again(net: Net) -> Iterator[Node]:
    """Run a net forward on the batch that it has; yield each layer behind which something is computed."""
    for position, unit in enumerate(net.plan.units):
        if unit.bottoms and unit.tops:
            net.forward_unit(position)
        yield unit.nodes[-1]


def _forward(net: Net) -> _Finding | None:
    """Return the first blob or parameter in forward order that is not finite, of a net that keeps them."""
    needed = _towards_loss(net)
    # Looked at before the pass: BatchNorm writes what it finds in its batch into its own.
    spoilt = {node: blob for node in net.graph.nodes for blob in reversed(node.layer.blobs) if bad(blob.data)}
    result: _Finding | None = None
    for node in _run_again(net):
        if result is not None or node not in needed:
            continue
        tops = [net.plan.blob(version) for version in node.tops]
        top = next((blob for blob in tops if bad(blob.data)), None)
        if top is None:
            continue
        blob = spoilt.get(node)
        if blob is not None and not any(bad(net.plan.blob(version).data) for version in node.bottoms):
            cause = "it was so before this pass: it comes from the weights that the net started with"
            result = _Finding(node.layer, f"parameter {blob.name}", blob.data.copy(), cause=cause)
        else:
            result = _Finding(
                node.layer, f"blob {quoted(top.name)}", top.data.copy(), _read_by(net, node), _of_data(node)
            )
    return result


def _of_data(node: Node) -> str:
    return "" if node.bottoms else "it is in the data: look for records that are damaged or scaled wrongly"


def _read_by(net: Net, node: Node) -> list[tuple[str, np.ndarray]]:
    bottoms = [net.plan.blob(version) for version in node.bottoms]
    return [(quoted(b.name), b.data.copy()) for b in bottoms] + [(b.name, b.data.copy()) for b in node.layer.blobs]


def _backward(net: Net) -> _Finding | None:
    """Return the first gradient that is not finite, in the order in which they are computed."""
    net.zero_grad()
    for seed in net.plan.seeds.values():
        seed()
    for unit in reversed(net.plan.units):
        node = unit.first
        # A blob that is written in place has one gradient, which the layer writes over.
        read = [
            (f"the gradient of {quoted(blob.name)}", blob.diff.copy())
            for blob in map(net.plan.blob, node.tops)
            if blob.diff is not None
        ]
        for step in unit.backward:
            step()
        blobs: list[Blob] = [*net.plan.bottoms(unit), *node.layer.blobs] if node.backward else []
        broken = next((blob for blob in blobs if blob.diff is not None and bad(blob.diff)), None)
        if broken is not None and broken.diff is not None:
            what = f"gradient of {quoted(broken.name)}"
            return _Finding(node.layer, what, broken.diff.copy(), read + _read_by(net, node))
    return None


def explain(net: Net, before: Held | None = None, gradients: bool = False) -> str:
    """Say what is the first that is not finite in the pass that a net has run, and what usually causes it.

    The pass is run again, by each process of a group on its own records; all of them say what the first one says that
    finds something. Afterwards the net is as it was, blobs and gradients included.

    Parameters
    ----------
    net : Net
    before : Held, optional
        Its state before the pass; by default as it is, which is the same where the layers draw no random numbers.
    gradients : bool, optional
        Whether the gradients are looked at too.
    """
    after, diff = Held(net), net.diff.copy()
    try:
        with net.kept():
            (before or after).put_back()
            finding = _forward(net) or (_backward(net) if gradients else None)
        text = "" if finding is None else f"the first that is not finite is in {finding}"
    except MemoryError:
        text = "there is not enough memory to keep every blob and find where it begins"
    finally:
        (before or after).put_back()
        for _ in _run_again(net):
            pass
        after.put_back()
        net.diff[...] = diff
    if text := first_text(net.context.group, text):
        return text
    for own in net.learnable if gradients else ():
        if own.blob.diff is not None and bad(own.blob.diff):
            return f"gradient of parameter {own.names[0]}: {described(own.blob.diff)}; {RATE_TOO_HIGH}"
    return f"every blob alone is finite; the sum is not; {RATE_TOO_HIGH}"
