"""HDF5Output: what a net computes, as a file."""

from collections.abc import Sequence
from pathlib import Path

from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.schema.hdf5 import RowWriter, h5py
from caffelite.words import Shape, quoted, text_of


@layer("HDF5Output")
class HDF5Output(Layer):
    """Writes its two bottoms to the datasets ``data`` and ``label`` of an HDF5 file, a row for each image.

    ``hdf5_output_param``: ``file_name``. Both datasets have four axes, the missing ones of length 1. Each pass adds
    its rows; in Caffe the second pass is an error. The file is there when the net is closed (or the program ends), in
    place of an older one that such a layer made, and whole. A net that is run again after it was closed begins a new
    file.

    The name means a place in the net's ``output_root``, and may not lead out of it; the folder above is made if it is
    missing. Where there is no ``output_root``, as in ``caffelite time``, nothing is written.

    Needs h5py.

    Source: Caffe's ``hdf5_output_layer.cpp``.
    """

    facts = Facts(
        images_meet="it writes all images to one file",
        bottoms=2,
        tops=0,
        differentiable=False,
        kind="measure",
        settings=("hdf5_output_param",),
    )

    def setup(self) -> None:
        self._file: RowWriter | None = None
        if not self.param.hdf5_output_param.file_name:
            self.error("hdf5_output_param has no file_name", "hdf5_output_param")
        self._path = self._target()

    def _target(self) -> Path | None:
        """Return the file to write: below the folder that the user named, whatever links are on the way."""
        if self.context.output_root is None:
            return None
        root, name = self.context.output_root.resolve(), self.param.hdf5_output_param.file_name
        path = (root / name).resolve()
        if path == root or not path.is_relative_to(root):
            self.error(
                f"{quoted(name)} is outside {root}, the folder that it may write to; another one is named by "
                "--output-root (output_root=…)",
                "file_name",
            )
        return path

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        for j, shape in enumerate(bottoms):
            if len(shape) > 4:
                self.shape_error(f"takes blobs of four axes at most, not {text_of(shape)}", "bottom", j)
        data, label = bottoms
        if (*data, 1)[0] != (*label, 1)[0]:
            self.shape_error(
                f"its bottoms must have as many rows, not {text_of(data)} and {text_of(label)}", "bottom", 1
            )
        return []

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        path = self._path
        if path is None:
            return []
        h5py()
        data, label = (blob.data.reshape((*blob.shape, 1, 1, 1, 1)[: max(4, len(blob.shape))]) for blob in bottoms)

        def write() -> None:
            try:
                if self._file is None:
                    self._file = RowWriter(path)
                self._file.append("data", data)
                self._file.append("label", label)
            # h5py passes on what does not work as whichever of these comes near.
            except (OSError, RuntimeError, ValueError, TypeError) as error:
                self.error(f"{path} cannot be written: {error}", "file_name")

        return [write]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
