"""A net as pycaffe shows it."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any

import numpy as np

from caffelite import net as engine
from caffelite.errors import NetError
from caffelite.layers.contract import blobs
from caffelite.layers.contract import layer as contract
from caffelite.layers.python import PythonLayer
from caffelite.net.caller import one_thread
from caffelite.net.transfer import Transfer
from caffelite.pycaffe.batches import Batches, assign
from caffelite.pycaffe.blob import Blob
from caffelite.pycaffe.compiling import told
from caffelite.pycaffe.files import file_name
from caffelite.pycaffe.hooks import Hooks
from caffelite.pycaffe.layer import NetLayer
from caffelite.pycaffe.mode import gpu, random_seed
from caffelite.pycaffe.names import Names
from caffelite.pycaffe.passes import Passes
from caffelite.pycaffe.shapes import take_shapes
from caffelite.pycaffe.sharing import shared, shares
from caffelite.pycaffe.vectors import BlobVec, LayerVec
from caffelite.schema.weights import write_hdf5
from caffelite.words import TEST, TRAIN, Shape, quoted


class Net(Names, Batches, Hooks):
    """One phase of a net whose blobs and gradients can all be looked at and changed.

    ``Net(network_file, phase)``, with weights ``Net(network_file, phase, weights=file)`` or, the older way,
    ``Net(network_file, weights_file, phase)``.

    Parameters
    ----------
    network_file : path
    phase : {TRAIN, TEST}
    level : int, optional
    stages : list of str, optional
        What ``include`` and ``exclude`` rules of layers are held against, with the phase.
    weights : path, optional
        A ``.caffemodel``.
    allow_python : bool, optional
        Whether Python layers may run the code that the prototxt names; what the program has imported may.

    Attributes
    ----------
    name : str
        The net's; programs may give it another.
    blobs : OrderedDict of str to Blob
    params : OrderedDict of str to list of Blob
        Parameters by the name of their layer.
    layers : list of Layer
    layer_dict : OrderedDict of str to Layer
    inputs, outputs : list of str
        Names of blobs: those that Input layers make, and those that no layer reads, sorted.
    top_names, bottom_names : OrderedDict of str to list of str
        By layer.
    blob_loss_weights : OrderedDict of str to float

    Raises
    ------
    SchemaError, NetError, ShapeError, WeightsError, DataError

    Notes
    -----
    All names are those of Caffe's Net: it has more methods than a class here should.

    The Split layers that Caffe puts between a blob and its readers do not exist here, nor do their blobs.
    """

    def __init__(
        self,
        network_file: Any,
        phase: Any = None,
        level: int | None = None,
        stages: Sequence[str] | None = None,
        weights: Any = None,
        allow_python: bool = False,
    ) -> None:
        if isinstance(phase, str | bytes | PathLike):
            phase, weights, level = level, phase, None
        if phase not in (TRAIN, TEST):
            raise NetError(f"the phase of a net is caffelite.TRAIN or caffelite.TEST, not {phase!r}")
        make = partial(
            engine.Net,
            file_name(network_file),
            phase,
            level=level or 0,
            stages=tuple(stages or ()),
            seed=random_seed(),
            keep=True,
            allow_python=allow_python or "imported",
            gpu=gpu(),
        )
        with told():
            net = make(weights=None if weights is None else file_name(weights))
        self._show(net, make)

    @classmethod
    def of(cls, net: engine.Net) -> "Net":
        """Return the face of a net that is there already, one that a solver made with ``keep=True``."""
        face = cls.__new__(cls)
        face._show(net, None)
        return face

    def _show(self, net: engine.Net, make: Callable[..., engine.Net] | None) -> None:
        super().__init__()
        self._make = make
        self._take(net)
        self._take_names(net)
        shown = [NetLayer(partial(self._layer, i)) for i in range(len(net.layers))]
        self.blobs = OrderedDict(
            (name, Blob(partial(self._blob, name), partial(self._reshape_blob, name))) for name in net.graph.names
        )
        self.params = OrderedDict((layer.name, layer.blobs) for layer in shown if layer.blobs)
        self.layers = LayerVec(shown)
        self._show_own_layers()

    def _take(self, net: engine.Net) -> None:
        # The blobs and layers that are shown look for theirs in this net each time.
        self._net = net
        self.caller = net.caller
        net.hooks = self._hooks
        self._passes = Passes(net)

    def _show_own_layers(self) -> None:
        """Show layers written in Python as the objects that they are."""
        for i, layer in enumerate(self._net.layers):
            if isinstance(layer, PythonLayer) and layer.user is not None:
                self.layers[i] = layer.user
        self.layer_dict = OrderedDict((layer.name, layer) for layer in self.layers)

    def _layer(self, index: int) -> contract.Layer:
        return self._net.layers[index]

    def _blob(self, name: str) -> blobs.Blob:
        return self._net.blobs[name]

    def _reshape_blob(self, name: str, shape: Shape) -> None:
        self._net.reshape_blob(name, shape)

    @property
    def _blobs(self) -> BlobVec:
        return BlobVec(self.blobs.values())

    # Running.

    @one_thread
    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: Any,
    ) -> dict[str, np.ndarray]:
        """Run the layers from ``start`` to ``end``.

        Parameters
        ----------
        blobs : list of str, optional
            Blobs to return beside the outputs.
        start, end : str, optional
            The layers to begin and to end with; all by default.
        **inputs : array
            Values for all inputs of the net; without any, the inputs hold what was written into them.

        Returns
        -------
        dict of str to ndarray
            The net's outputs (with ``end``, that layer's tops) and ``blobs``: views, not copies.

        Raises
        ------
        NetError
            A name that is not in the net.
        ShapeError
            Values of another shape than their input.
        """
        first = 0 if start is None else self._index(start)
        last = len(self.layers) - 1 if end is None else self._index(end)
        asked = [*(self.outputs if end is None else self.top_names[end]), *self._known(blobs)]
        self._adopt(first, last)
        if inputs:
            assign(inputs, {name: self.blobs[name].data for name in self.inputs}, "input")
        self._forward(first, last)
        return {name: self.blobs[name].data for name in dict.fromkeys(asked)}

    @one_thread
    def _forward(self, start: int, end: int) -> float:
        """Run the layers with these numbers, both included; return the net's loss."""
        self._adopt(start, end)
        return self._passes.forward(start, end)

    @one_thread
    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **gradients: Any,
    ) -> dict[str, np.ndarray]:
        """Compute gradients from layer ``start`` back to layer ``end``; those of parameters are added up.

        Parameters
        ----------
        diffs : list of str, optional
            Blobs whose gradients to return beside those of the inputs.
        start, end : str, optional
            The layers to begin and to end with, the one further from the inputs first; all by default.
        **gradients : array
            Gradients of all outputs of the net; without any, losses begin with their weights and other
            outputs with what was written into their ``diff``.

        Returns
        -------
        dict of str to ndarray
            Gradients of the inputs (with ``end``, of that layer's bottoms) and of ``diffs``: views, not
            copies.
        """
        first = len(self.layers) - 1 if start is None else self._index(start)
        last = 0 if end is None else self._index(end)
        asked = [*(self.inputs if end is None else self.bottom_names[end]), *self._known(diffs)]
        if gradients:
            assign(gradients, {name: self.blobs[name].diff for name in self.outputs}, "output")
        self._backward(first, last)
        return {name: self.blobs[name].diff for name in dict.fromkeys(asked)}

    @one_thread
    def _backward(self, start: int, end: int) -> None:
        """Run the layers with these numbers backward, both included, ``start`` the greater one."""
        self._adopt(end, start)
        self._passes.backward(start, end)

    # Shapes.

    @one_thread
    def reshape(self) -> None:
        """Fit all layers to the shapes that blobs were given with ``blobs[name].reshape``; what inputs hold is kept.

        Raises
        ------
        ShapeError
            A layer does not fit; all of them are left as they were.
        """
        take_shapes(self._net)

    def _adopt(self, first: int, last: int) -> None:
        """Prepare a pass over some of the layers: where it is all of them, they are fitted as one."""
        for name in self._layer_names[first : last + 1]:
            for blob in self.params.get(name, ()):
                blob.check(name)
        if (first, last) == (0, len(self.layers) - 1):
            take_shapes(self._net)

    # Parameters.

    def copy_from(
        self, weights: Any, *, layer_map: Mapping[str, str] | None = None, skip_mismatch: bool = False
    ) -> Transfer:
        """Set the parameters of the layers that a weights file names; see :meth:`caffelite.net.Net.copy_from`."""
        return self._net.copy_from(file_name(weights), layer_map=layer_map, skip_mismatch=skip_mismatch)

    @one_thread
    def share_with(self, other: "Net") -> None:
        """Use the parameters of ``other``, where layers have the same name, from now on.

        What changes in one net changes in the other.

        Raises
        ------
        NetError
            The net is a solver's own, which trains the parameters it has.
        ShapeError
            Two layers of one name have parameters of different shapes.
        """
        if shares(self._net, other._net):
            return
        if self._make is None:
            raise NetError(
                f"net {quoted(self.name)} is a solver's, which trains the parameters it has; copy_from or "
                "assigning to params[...].data brings others into it"
            )
        old, new = self._net, shared(self._net, other._net, self._make)
        held = {name: self.blobs[name].data for name in self.inputs}
        self._take(new)
        self._show_own_layers()
        for name, values in held.items():
            self.blobs[name].reshape(*values.shape)
            self.blobs[name].data[...] = values
        old.close()

    def close(self) -> None:
        """Close files and end threads that layers have; what an HDF5Output layer wrote is in its file then."""
        self._net.close()

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        self._net.zero_grad()

    def save(self, path: Any) -> None:
        """Write the parameters to a ``.caffemodel`` (HDF5 where the name ends in ``.h5``)."""
        self._net.save(file_name(path), self._weights())

    def save_hdf5(self, path: Any) -> None:
        """Write the parameters to an HDF5 file."""
        write_hdf5(file_name(path), self._weights())

    def load_hdf5(self, path: Any) -> None:
        """Set the parameters from an HDF5 file."""
        self._net.copy_from(file_name(path))

    def _weights(self) -> dict[str, list[np.ndarray]]:
        """Return the parameters in the shapes that they are shown in."""
        weights = self._net.weights()
        for name, parameters in self.params.items():
            if any(blob.reshaped for blob in parameters):
                weights[name] = [blob.data for blob in parameters]
        return weights
