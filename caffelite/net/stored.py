"""What of a net is kept in files: its parameters, and the state beside them that a resumed run needs."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from caffelite.errors import WeightsError
from caffelite.layers.contract.blobs import Blob
from caffelite.layers.contract.layer import Layer
from caffelite.net.caller import Caller, one_thread
from caffelite.net.transfer import Transfer, transfer
from caffelite.schema.documents import NetDocument
from caffelite.schema.messages import NetParameter
from caffelite.schema.weights import LayerWeights, read_weights, write_caffemodel, write_hdf5
from caffelite.words import quoted, text_of


class Stored:
    """Reads and writes the parameters and the state of a net, which has these attributes."""

    name: str
    document: NetDocument
    phase: int
    caller: Caller
    layers: list[Layer]
    params: dict[str, list[Blob]]

    def changed(self) -> None:
        """Take note that the parameters have changed."""
        raise NotImplementedError

    def state(self) -> dict[str, np.ndarray]:
        """Return, by ``layer/name``, the arrays beside the parameters that a resumed run needs (live, not copies)."""
        return {f"{layer.name}/{key}": array for layer in self.layers for key, array in layer.state.items()}

    @one_thread
    def load_state(self, state: dict[str, np.ndarray]) -> None:
        """Set what :meth:`state` returned; entries that this net does not have are ignored."""
        for key, array in self.state().items():
            if key in state:
                if state[key].shape != array.shape:
                    raise WeightsError(
                        f"state {quoted(key)} has shape {text_of(state[key].shape)}, expected {text_of(array.shape)}"
                    )
                array[...] = state[key]

    @one_thread
    def copy_from(
        self,
        source: str | Path | Iterable[LayerWeights],
        *,
        layer_map: Mapping[str, str] | None = None,
        skip_mismatch: bool = False,
    ) -> Transfer:
        """Set the parameters of the layers that a weights file names; other layers are left as they are.

        Parameters
        ----------
        source : path or iterable of LayerWeights
        layer_map, skip_mismatch : optional
            See :func:`caffelite.net.transfer.transfer`, which has the errors too.

        Returns
        -------
        Transfer
            The layers that were set, and those that are in the file or in the net only.
        """
        self.changed()
        file = "weights"
        if isinstance(source, str | Path):
            file, source = str(source), read_weights(source)
        return transfer(source, self.layers, file, self.name, layer_map, skip_mismatch)

    def weights(self) -> dict[str, list[np.ndarray]]:
        """Return the parameters by layer name (live, not copies)."""
        return {name: [blob.data for blob in blobs] for name, blobs in self.params.items()}

    def save(self, path: str | Path, weights: dict[str, list[np.ndarray]] | None = None) -> None:
        """Write the parameters: as HDF5 where the name ends in ``.h5``, else as a ``.caffemodel``.

        Parameters
        ----------
        path : path
            The file is there whole or not at all.
        weights : dict of str to list of ndarray, optional
            Written in place of :meth:`weights`.
        """
        weights = self.weights() if weights is None else weights
        if str(path).endswith(".h5"):
            write_hdf5(path, weights)
        else:
            write_caffemodel(path, self._message(), weights)

    def _message(self) -> NetParameter:
        """Return the net as it is run: the layers of this phase."""
        message = type(self.document.message)()
        message.name = self.name
        for layer in self.layers:
            message.layer.add().CopyFrom(layer.param)
            message.layer[-1].phase = self.phase
        return message
