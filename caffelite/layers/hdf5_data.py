"""HDF5Data: rows of datasets from HDF5 files."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from caffelite.errors import DataError, MissingExtraError
from caffelite.layers.contract.blobs import Blob, Step
from caffelite.layers.contract.facts import Facts
from caffelite.layers.contract.layer import Layer
from caffelite.layers.contract.registry import layer
from caffelite.schema.hdf5 import read_rows, row_shapes
from caffelite.words import Shape, quoted, text_of


@layer("HDF5Data")
class HDF5Data(Layer):
    """Batches of rows from HDF5 files, round and round; each top has the dataset of its name.

    ``hdf5_data_param``: ``source`` (a text file with the names of the HDF5 files), ``batch_size``, ``shuffle`` (false;
    another order of the files, and of the rows in each, each time round). Datasets are of numbers, of any shape; those
    of one file have the same number of rows, and rows of one name the same shape in all files. Nothing is done to the
    values. A batch goes on from one file into the next.

    Needs h5py. A file is read as a whole when its first row is taken, as in Caffe.

    Source: Caffe's ``hdf5_data_layer.cpp``.

    Attributes
    ----------
    epoch_size : int
        Rows in all files.
    share : Share
        What this process has of the batches.
    """

    facts = Facts(bottoms=0, tops=(1, None), source=True, kind="data", settings=("hdf5_data_param", "transform_param"))

    def setup(self) -> None:
        settings = self.param.hdf5_data_param
        if self.param.HasField("transform_param"):
            self.error("HDF5Data does nothing to its values, so it takes no transform_param", "transform_param")
        if not settings.source:
            self.error("hdf5_data_param has no source, a list of HDF5 files", "hdf5_data_param")
        if settings.batch_size < 1:
            self.error(f"batch_size is {settings.batch_size}, expected 1 or more", "batch_size")
        self.share = self.share_of(settings.batch_size, "batch_size")
        self._names = list(self.param.top)
        self._files: list[str] = []
        self._rows = np.zeros(0, np.int64)
        self._shapes: list[Shape] = []
        self._values: list[np.ndarray] = []
        self._loaded = -1
        self._order = lru_cache(4)(self._shuffled)
        self.epoch_size = 0
        #: The number of the row that the next batch begins with.
        self.state["position"] = np.zeros(1, np.int64)

    def shapes(self, *bottoms: Shape) -> Sequence[Shape]:
        if not self._shapes:
            try:
                self._look()
            except (DataError, MissingExtraError) as error:
                raise type(error)(f"{self.where('source')}: {error}") from None
        return [(self.share.count, *shape) for shape in self._shapes]

    def _look(self) -> None:
        source = self.param.hdf5_data_param.source
        try:
            self._files = Path(source).read_text("utf-8", "surrogateescape").split()
        except OSError as error:
            raise DataError(f"the list of files {quoted(source)} cannot be read: {error.strerror}") from None
        if not self._files:
            raise DataError(f"the list of files {quoted(source)} is empty")
        rows = []
        first: list[Shape] = []
        for i, file in enumerate(self._files):
            shapes = row_shapes(file, self._names, self._what(i))
            rows.append(shapes[0][0])
            bare = [shape[1:] for shape in shapes]
            first = first or bare
            for name, mine, others in zip(self._names, bare, first, strict=True):
                if mine != others:
                    raise DataError(
                        f"{self._what(i)}: rows of {quoted(name)} are {text_of(mine)}, those of the first file "
                        f"{text_of(others)}"
                    )
        self._rows = np.array(rows, np.int64)
        self.epoch_size = int(self._rows.sum())
        self._shapes = first

    def _what(self, file: int) -> str:
        """Return what a file is called in errors, without words of the list: it may be one that is not to be shown."""
        return f"file {file + 1} of {self.param.hdf5_data_param.source}"

    def _shuffled(self, epoch: int, file: int | None) -> np.ndarray:
        """Return the order of the files the n-th time round, or of the rows in one of them."""
        if file is None:
            return np.random.default_rng([self.seed, epoch]).permutation(len(self._files))
        return np.random.default_rng([self.seed, epoch, file + 1]).permutation(self._rows[file])

    def _find(self, position: int, most: int) -> tuple[int, slice | np.ndarray]:
        """Return the file with a row of the run, and where in it the next rows are, ``most`` at most."""
        epoch, row = divmod(position, self.epoch_size)
        shuffle = self.param.hdf5_data_param.shuffle
        files = self._order(epoch, None) if shuffle else np.arange(len(self._files))
        ends = np.cumsum(self._rows[files])
        at = int(np.searchsorted(ends, row, "right"))
        file = int(files[at])
        begin = row - int(ends[at] - self._rows[file])
        part = slice(begin, min(begin + most, int(self._rows[file])))
        return file, self._order(epoch, file)[part] if shuffle else part

    def forward(self, bottoms: Sequence[Blob], tops: Sequence[Blob]) -> list[Step]:
        position = self.state["position"]
        share = self.share

        def load() -> None:
            done = 0
            while done < share.count:
                file, rows = self._find(int(position[0]) + share.first + done, share.count - done)
                if file != self._loaded:
                    self._read(file)
                count = rows.stop - rows.start if isinstance(rows, slice) else len(rows)
                for top, values in zip(tops, self._values, strict=True):
                    top.data[done : done + count] = values[rows]
                done += count
            position[0] += share.stride

        return [load]

    def _read(self, file: int) -> None:
        self._values, self._loaded = [], -1
        try:
            values = read_rows(self._files[file], self._names, self._what(file))
        except (DataError, MissingExtraError) as error:
            raise type(error)(f"{self.where('source')}: {error}") from None
        if [v.shape for v in values] != [(self._rows[file], *shape) for shape in self._shapes]:
            raise DataError(f"{self.where('source')}: {self._what(file)} has changed since the net was built")
        self._values, self._loaded = values, file

    def close(self) -> None:
        self._values, self._loaded = [], -1
