"""MemoryData: batches from arrays that the caller has."""

from collections.abc import Mapping, Sequence

import numpy as np

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.layers.shared.labels import images_and_labels
from caffelite.words import Shape, text_of


@layer("MemoryData")
class MemoryData(Layer):
    """Batches of images (first top) and labels (second top) from two arrays in memory, round and round.

    ``memory_data_param``: ``batch_size``, ``channels``, ``height``, ``width``. The arrays are set with
    ``set_input_arrays`` of the Python interface; they are used where they are, so what is written into them later
    counts. Nothing is done to the values, whatever ``transform_param`` says.

    Source: Caffe's ``memory_data_layer.cpp``.
    """

    facts = Facts(bottoms=0, tops=2, source=True, filled_by_caller=True, kind="data", settings=("memory_data_param",))

    def setup(self) -> None:
        settings = self.param.memory_data_param
        for name in ("batch_size", "channels", "height", "width"):
            if getattr(settings, name) < 1:
                self.error(f"memory_data_param needs {name}, 1 or more", "memory_data_param")
        self.shape = (settings.batch_size, settings.channels, settings.height, settings.width)
        self.arrays: tuple[np.ndarray, np.ndarray] | None = None
        #: The number of the image that the next batch begins with.
        self.state["position"] = np.zeros(1, np.int64)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        return [self.shape, self.shape[:1]]

    def shapes_beside(self, given: Mapping[int, Shape]) -> list[Shape | None]:
        return images_and_labels(given, tops=2)

    def set_arrays(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Take batches from these from now on, beginning with their first.

        Parameters
        ----------
        data : ndarray of float32
            As many images as a number of whole batches has; C-contiguous.
        labels : ndarray of float32
            As many, with three more axes of length 1.

        Raises
        ------
        NetError
            They are not such arrays.
        """
        for what, values, inner in (("data", data, self.shape[1:]), ("labels", labels, (1, 1, 1))):
            if not isinstance(values, np.ndarray) or values.dtype != np.float32:
                kind = values.dtype if isinstance(values, np.ndarray) else type(values).__name__
                self.error(f"{what} must be an array of float32, not of {kind}")
            if values.ndim != 4 or values.shape[1:] != inner:
                self.shape_error(f"{what} must be of shape N×{text_of(inner)}, not {text_of(values.shape)}")
            if not values.flags.c_contiguous:
                self.error(f"{what} must be C-contiguous: numpy.ascontiguousarray makes it so")
        if len(data) != len(labels):
            self.shape_error(f"there must be as many labels as images, not {len(labels)} for {len(data)}")
        if not len(data) or len(data) % self.shape[0]:
            self.shape_error(f"{len(data)} images are not a number of whole batches of {self.shape[0]}")
        self.arrays = data, labels.reshape(-1)
        self.state["position"][0] = 0

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        position = self.state["position"]
        batch = self.shape[0]

        def load() -> None:
            if self.arrays is None:
                self.error("it has no data: set_input_arrays(data, labels) of the Python interface sets it")
            first = int(position[0]) % len(self.arrays[0])
            for top, values in zip(tops, self.arrays, strict=True):
                np.copyto(top.data, values[first : first + batch])
            position[0] = (first + batch) % len(self.arrays[0])

        return [load]
