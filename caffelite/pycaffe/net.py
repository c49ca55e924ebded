"""Net, as Caffe's Python interface has it."""

import difflib
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffelite import net as core
from caffelite.errors import NetError, ShapeError
from caffelite.layers.base import Blob as CoreBlob
from caffelite.layers.base import count, text_of
from caffelite.layers.input import Input
from caffelite.pycaffe.modes import random_seed


class Blob:
    """Values and gradient of a blob.

    Attributes
    ----------
    data, diff : ndarray of float32
        Live: what is written to them is what the net sees.
    """

    def __init__(self, blob: CoreBlob) -> None:
        self._blob = blob
        self._wanted: tuple[int, ...] | None = None

    @property
    def data(self) -> np.ndarray:
        if self._wanted is not None and self._wanted != self._blob.shape:
            raise ShapeError(
                f'blob "{self._blob.name}" was reshaped to {text_of(self._wanted)}; call net.reshape() first'
            )
        return self._blob.data

    @property
    def diff(self) -> np.ndarray:
        if self._blob.diff is None:
            # No layer computes it; in Caffe it is there all the same.
            self._blob.diff = np.zeros_like(self._blob.data)
        return self._blob.diff

    @property
    def shape(self) -> tuple[int, ...]:
        return self._blob.shape if self._wanted is None else self._wanted

    @property
    def count(self) -> int:
        return count(self.shape)

    def _legacy(self, axis: int) -> int:
        if len(self.shape) > 4:
            raise ShapeError(
                f'blob "{self._blob.name}" has {len(self.shape)} axes; num, channels, height and width go '
                "with at most 4"
            )
        return self.shape[axis] if axis < len(self.shape) else 1

    @property
    def num(self) -> int:
        return self._legacy(0)

    @property
    def channels(self) -> int:
        return self._legacy(1)

    @property
    def height(self) -> int:
        return self._legacy(2)

    @property
    def width(self) -> int:
        return self._legacy(3)

    def reshape(self, *shape: int) -> None:
        """Ask for another shape; ``net.reshape()`` or the next ``net.forward()`` takes it up."""
        if any(n < 1 for n in shape):
            raise ShapeError(f"{text_of(shape)} is not a shape: every axis needs at least 1")
        self._wanted = tuple(shape)


class LayerView:
    """A layer of a net: ``type`` and parameter ``blobs``."""

    def __init__(self, layer: Any, blobs: list[Blob]) -> None:
        self.type: str = layer.param.type
        self.blobs = blobs
        self.layer = layer


class Net:
    """A net whose blobs can all be looked into.

    ``Net(path, phase)``, ``Net(path, phase, weights=path)``, or as it once was ``Net(path, weights, phase)``; ``level``
    and ``stages`` choose among ``include`` rules.

    Attributes
    ----------
    blobs, params, layer_dict : OrderedDict
        Blobs by name; lists of parameter blobs by layer name; layers by name.
    layers : list of LayerView
    inputs, outputs : list of str
    top_names, bottom_names : OrderedDict
        By layer name.
    blob_loss_weights : OrderedDict
    """

    def __init__(
        self, network_file: str | Path | core.Net, *arguments: Any, phase: int | None = None, level: int = 0,
        stages: Sequence[str] | None = None, weights: str | Path | None = None,
    ) -> None:  # fmt: skip
        if isinstance(network_file, core.Net):
            self._net = network_file
        else:
            rest = list(arguments)
            if rest and isinstance(rest[0], str | Path):
                weights = rest.pop(0)
            if rest:
                phase = rest.pop(0)
            if rest:
                level = rest.pop(0)
            if rest:
                stages = rest.pop(0)
            if phase not in (0, 1):
                raise NetError(f"phase is {phase!r}, expected caffelite.TRAIN or caffelite.TEST")
            self._net = core.Net(network_file, int(phase), weights=weights, level=level, stages=stages or (),
                                 seed=random_seed(), keep=True)  # fmt: skip
        net = self._net
        self._params = {name: [Blob(blob) for blob in blobs] for name, blobs in net.params.items()}
        self.params: OrderedDict[str, list[Blob]] = OrderedDict(self._params)
        self.layers = [LayerView(layer, self._params.get(layer.name, [])) for layer in net.layers]
        self.layer_dict = OrderedDict(zip(net.layer_names, self.layers, strict=True))
        self._layer_names = list(net.layer_names)
        self.inputs, self.outputs = list(net.inputs), list(net.outputs)
        nodes = net.graph.nodes
        self.top_names = OrderedDict((n.name, [v.name for v in n.tops]) for n in nodes)
        self.bottom_names = OrderedDict((n.name, [v.name for v in n.bottoms]) for n in nodes)
        self.blobs: OrderedDict[str, Blob] = OrderedDict((name, Blob(blob)) for name, blob in net.blobs.items())
        self._blob_names = list(self.blobs)
        self.blob_loss_weights = OrderedDict((name, net.graph.names[name].loss_weight) for name in self.blobs)

    def __repr__(self) -> str:
        return f"<caffelite.Net {self._net.name!r}, {len(self.layers)} layers>"

    @property
    def name(self) -> str:
        return self._net.name

    def _position(self, layer: str | None, default: int) -> int:
        if layer is None:
            return default
        if layer not in self._layer_names:
            near = difflib.get_close_matches(layer, self._layer_names, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise NetError(f'there is no layer "{layer}" in net "{self._net.name}"{hint}')
        return self._layer_names.index(layer)

    def _assign(self, values: dict[str, Any], names: Sequence[str], what: str) -> None:
        for name, value in values.items():
            if name not in names:
                raise NetError(
                    f'"{name}" is not an {what} of net "{self._net.name}"; it has {", ".join(names) or "none"}'
                )
            target = self.blobs[name].data if what == "input" else self.blobs[name].diff
            array = np.asarray(value, np.float32)
            if array.shape[:1] != target.shape[:1]:
                raise ShapeError(
                    f'{what} "{name}" has {array.shape[0] if array.shape else "no"} items, the net {target.shape[0]}'
                )
            if array.size != target.size:
                raise ShapeError(
                    f'{what} "{name}" has shape {text_of(array.shape)}, the net takes {text_of(target.shape)}'
                )
            target[...] = array.reshape(target.shape)

    def forward(
        self, blobs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **inputs: Any
    ) -> dict[str, np.ndarray]:
        """Run the layers from ``start`` to ``end`` (both included), inputs given by name set first.

        Returns
        -------
        dict of str to ndarray
            The net's outputs (or the tops of ``end``), and the blobs that ``blobs`` names; live arrays.
        """
        if any(blob._wanted is not None for blob in self.blobs.values()):
            self.reshape()
        if inputs:
            if set(inputs) != set(self.inputs):
                raise NetError(
                    f'net "{self._net.name}" takes the inputs {", ".join(self.inputs) or "none"}, not '
                    f"{', '.join(inputs)}"
                )
            self._assign(inputs, self.inputs, "input")
        first, last = self._position(start, 0), self._position(end, len(self.layers) - 1)
        for unit in self._net.plan.units[first : last + 1]:
            for step in unit.forward:
                step()
        names = self.top_names[end] if end is not None else self.outputs
        return {name: self.blobs[name].data for name in dict.fromkeys([*names, *(blobs or [])])}

    def backward(
        self, diffs: Iterable[str] | None = None, start: str | None = None, end: str | None = None, **gradients: Any
    ) -> dict[str, np.ndarray]:
        """Run backward from ``start`` back to ``end``, gradients of outputs given by name set first.

        Returns
        -------
        dict of str to ndarray
            The gradients of the inputs (or of the bottoms of ``end``), and of the blobs that ``diffs`` names.
        """
        if gradients:
            names = self.top_names[start] if start is not None else self.outputs
            self._assign(gradients, names, "output")
        first, last = self._position(start, len(self.layers) - 1), self._position(end, 0)
        for unit in reversed(self._net.plan.units[last : first + 1]):
            for step in unit.backward:
                step()
        names = self.bottom_names[end] if end is not None else self.inputs
        return {name: self.blobs[name].diff for name in dict.fromkeys([*names, *(diffs or [])])}

    def forward_all(self, blobs: Iterable[str] | None = None, **inputs: Any) -> dict[str, np.ndarray]:
        """Run forward over any number of items, in batches of the net's size; returns copies."""
        size = self.blobs[self.inputs[0]].shape[0]
        total = len(next(iter(inputs.values())))
        found: dict[str, list[np.ndarray]] = {}
        for begin in range(0, total, size):
            here = {name: np.asarray(value[begin : begin + size], np.float32) for name, value in inputs.items()}
            filled = total - begin if total - begin < size else size
            padded = {name: np.concatenate([v, np.zeros((size - filled, *v.shape[1:]), np.float32)])
                      for name, v in here.items()}  # fmt: skip
            for name, value in self.forward(blobs, None, None, **padded).items():
                found.setdefault(name, []).append(value[:filled].copy() if value.shape else value.copy())
        return {name: np.concatenate(parts) if parts[0].shape else np.array(parts) for name, parts in found.items()}

    def reshape(self) -> None:
        """Take up the shapes that ``blobs[...].reshape`` asked for."""
        for layer in self._net.layers:
            if isinstance(layer, Input):
                layer.top_shapes = [self.blobs[name].shape for name in layer.param.top]
        self._net.reshape()
        self._follow_plan()

    def _follow_plan(self) -> None:
        """Let the blobs show the arrays of a new plan."""
        for name, blob in self.blobs.items():
            blob._blob, blob._wanted = self._net.blobs[name], None

    def copy_from(self, path: str | Path) -> None:
        """Set parameters from a weights file, by layer name."""
        self._net.copy_from(path)

    def share_with(self, other: "Net") -> None:
        """Use the parameters of another net, for layers of the same name."""
        self._net.share_with(other._net)
        self._follow_plan()
        for name, blobs in self._params.items():
            for view, blob in zip(blobs, self._net.params[name], strict=True):
                view._blob = blob

    def save(self, path: str | Path) -> None:
        """Write the parameters as a ``.caffemodel``, or as HDF5 where the name ends in ``.h5``."""
        self._net.save(path)

    def save_hdf5(self, path: str | Path) -> None:
        """Write the parameters as HDF5."""
        self._net.save(path if str(path).endswith(".h5") else f"{path}.h5")

    def load_hdf5(self, path: str | Path) -> None:
        """Set parameters from an HDF5 file."""
        self._net.copy_from(path)

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        self._net.zero_grad()
