"""Events of TensorBoard, read back."""

import sys
from pathlib import Path

import pytest

from caffelite.errors import MissingExtraError
from caffelite.report.tensorboard import Events

TRAIN = {
    "event": "train",
    "iteration": 5,
    "rate": 0.1,
    "losses": [2.0, None],
    "images_per_second": 10.0,
    "waiting": 0.5,
    "outputs": {"loss": [1.0], "pair": [3.0, 4.0]},
    "norms": {"ip": {"weights": 1.5, "gradients": 0.5, "updates": 0.25}},
    "batchnorm": {"bn": {"mean": [-0.5, 0.25, 4.0], "deviation": [None]}},
}


def test_events_are_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # It imports PyTorch where that is installed, which takes seconds, and is not used here.
    monkeypatch.setitem(sys.modules, "torch", None)
    pytest.importorskip("tensorboardX", reason="of the extra tensorboard")
    from tensorboardX.proto.event_pb2 import Event

    events = Events(tmp_path, 0)
    events.write({"event": "start", "iteration": 0})
    events.write(TRAIN)
    events.write({"event": "test", "iteration": 5, "net": 1, "outputs": {"accuracy": [0.75]}})
    events.write({"event": "note", "iteration": 5, "text": "a note"})
    events.close()
    (file,) = tmp_path.iterdir()
    data, at, scalars = file.read_bytes(), 0, {}
    while at < len(data):
        # A record: its length in eight bytes, a checksum of four, the event, a checksum.
        size = int.from_bytes(data[at : at + 8], "little")
        event = Event.FromString(data[at + 12 : at + 12 + size])
        at += 16 + size
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                scalars[value.tag, event.step] = value.simple_value
    assert scalars["train/loss", 4] == 2 and scalars["train/loss", 5] != scalars["train/loss", 5]
    assert scalars["train/output/pair/1", 5] == 4 and scalars["test1/accuracy", 5] == 0.75
    assert scalars["gradients/ip", 5] == 0.5 and scalars["behind/bn/mean", 5] == 0.5
    assert scalars["train/rate", 5] == pytest.approx(0.1)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtraError, match=r"tensorboardX: pip install 'caffelite\[tensorboard\]'"):
        Events(tmp_path, 0)
