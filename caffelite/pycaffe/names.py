"""The names and numbers of a net's layers and blobs, and which of them a user may have meant."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NoReturn

from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.pycaffe.vectors import DtypeVec, IntVec, StringVec
from caffelite.words import did_you_mean, quoted


class Names:
    """What pycaffe tells of the names in a net. Numbers of blobs are places in ``_blob_names``."""

    def _take_names(self, net: Net) -> None:
        nodes, versions = net.graph.nodes, net.graph.names
        self.name = net.name
        self._layer_names = StringVec(net.layer_names)
        self._blob_names = StringVec(versions)
        # By their second names scripts find them in pycaffe's net, too.
        self.inputs = self._input_list = list(net.inputs)
        self.outputs = self._output_list = sorted(net.outputs)
        self.top_names = OrderedDict((node.name, [v.name for v in node.tops]) for node in nodes)
        self.bottom_names = OrderedDict((node.name, [v.name for v in node.bottoms]) for node in nodes)
        self.blob_loss_weights = OrderedDict((name, v.loss_weight) for name, v in versions.items())

    @property
    def _inputs(self) -> IntVec:
        return self._numbers(self.inputs)

    @property
    def _outputs(self) -> IntVec:
        return self._numbers(self.outputs)

    @property
    def _blob_loss_weights(self) -> DtypeVec:
        return DtypeVec(self.blob_loss_weights.values())

    def _top_ids(self, layer: int) -> IntVec:
        return self._numbers(self.top_names[self._layer_names[layer]])

    def _bottom_ids(self, layer: int) -> IntVec:
        return self._numbers(self.bottom_names[self._layer_names[layer]])

    def _numbers(self, blobs: Iterable[str]) -> IntVec:
        return IntVec(map(self._blob_names.index, blobs))

    def _index(self, layer: str) -> int:
        """Return the number of a layer; raise NetError where the net has none of this name."""
        if layer not in self._layer_names:
            self._unknown("layer", layer, self._layer_names)
        return self._layer_names.index(layer)

    def _known(self, names: Iterable[str] | None) -> list[str]:
        """Return the names as they are, no names for None; raise NetError for one that the net has not."""
        given = list(names or ())
        for name in given:
            if name not in self._blob_names:
                self._unknown("blob", name, self._blob_names)
        return given

    def _unknown(self, what: str, name: str, known: Sequence[str]) -> NoReturn:
        raise NetError(f"net {quoted(self.name)} has no {what} {quoted(name)}{did_you_mean(name, known)}")
