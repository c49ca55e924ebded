"""The same numbers as events of TensorBoard."""

from pathlib import Path
from typing import Any

import numpy as np

from caffelite.errors import Error, MissingExtraError
from caffelite.report.metrics import Line


class Events:
    """Writes lines as events of TensorBoard.

    Scalars: ``train/loss`` of every iteration, ``train/rate``, ``train/images_per_second``, ``train/waiting``,
    ``train/output/NAME`` and ``testN/NAME`` for outputs, ``weights/LAYER``, ``gradients/LAYER``, ``updates/LAYER``,
    and of BatchNorm ``behind/LAYER/mean`` and ``behind/LAYER/deviation``, the medians of the channels.

    Parameters
    ----------
    folder : Path
    iteration : int
        Where the run goes on: what TensorBoard has from there on is hidden.

    Raises
    ------
    MissingExtraError
        tensorboardX is not installed.
    Error
        The folder cannot be written.
    """

    def __init__(self, folder: Path, iteration: int) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            message = "TensorBoard's events need tensorboardX: pip install 'caffelite[tensorboard]'"
            raise MissingExtraError(message) from None
        try:
            self._writer: Any = SummaryWriter(str(folder), purge_step=iteration + 1 if iteration else None)
        except OSError as error:
            raise Error(f"{folder}: TensorBoard's events cannot be written: {error.strerror}") from None

    def write(self, line: Line) -> None:
        """Add a line."""
        if line["event"] == "train":
            self._train(line)
        elif line["event"] == "test":
            self._outputs(f"test{line['net']}", line)
        elif line["event"] == "note":
            self._writer.add_text("note", line["text"], line["iteration"])
        self._writer.flush()

    def _train(self, line: Line) -> None:
        begin = line["iteration"] - len(line["losses"]) + 1
        for i, loss in enumerate(line["losses"]):
            self._add("train/loss", loss, begin + i)
        for key in ("rate", "images_per_second", "waiting"):
            self._add(f"train/{key}", line[key], line["iteration"])
        self._outputs("train/output", line)
        for layer, values in line["norms"].items():
            for kind, value in values.items():
                self._add(f"{kind}/{layer}", value, line["iteration"])
        for layer, values in line["batchnorm"].items():
            for kind, channels in values.items():
                sizes = [abs(value) for value in channels if value is not None]
                self._add(f"behind/{layer}/{kind}", float(np.median(sizes)) if sizes else None, line["iteration"])

    def _outputs(self, group: str, line: Line) -> None:
        for name, values in line["outputs"].items():
            for i, value in enumerate(values):
                self._add(f"{group}/{name}" + (f"/{i}" if len(values) > 1 else ""), value, line["iteration"])

    def _add(self, name: str, value: float | None, iteration: int) -> None:
        self._writer.add_scalar(name, np.nan if value is None else value, iteration)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()
