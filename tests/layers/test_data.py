"""The Data layer: what it reads, where it goes on, what it says of what it cannot read."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from caffelite.data.writing import write_database
from caffelite.errors import DataError, NetError
from caffelite.net import Net
from caffelite.schema.blobs import read_blob
from caffelite.schema.messages import Datum
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

RECORDS = 7


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    records = []
    for i in range(RECORDS):
        pixels = rng.integers(0, 256, (2, 4, 5), np.uint8)
        datum = Datum(channels=2, height=4, width=5, data=pixels.tobytes(), label=i)
        records.append((b"%03d" % i, datum.SerializeToString()))
    write_database(tmp_path / "lmdb", records)
    return tmp_path / "lmdb"


def net_of(
    source: Path, settings: str = "batch_size: 3", more: str = "", tops: str = 'top: "x" top: "y"', phase: int = TRAIN
) -> Net:
    data = f'data_param {{ source: "{source}" backend: LMDB\n {settings} }}'
    text = f'layer {{ name: "d" type: "Data" {tops}\n  {data} {more} }}'
    return Net(net_from_text(text, "a.prototxt"), phase, keep=True)


def labels(net: Net, passes: int) -> list[int]:
    found = []
    for _ in range(passes):
        net.forward()
        found += net.blobs["y"].data.astype(int).tolist()
    return found


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_records_come_in_order_and_again(source, phase):
    net = net_of(source, phase=phase)
    assert labels(net, 5) == [i % RECORDS for i in range(15)]
    layer = net.layers[0]
    assert (layer.epoch_size, layer.share.count) == (RECORDS, 3)
    assert layer.waited_seconds >= 0
    net.close()


def test_values_are_those_of_the_records(source):
    net = net_of(source, more="transform_param { scale: 0.5 mean_value: 3 }", tops='top: "x"')
    net.forward()
    expected = np.random.default_rng(0).integers(0, 256, (2, 4, 5), np.uint8)
    np.testing.assert_array_equal(net.blobs["x"].data[0], (expected.astype(np.float32) - 3) * 0.5)
    assert net.blobs["x"].shape == (3, 2, 4, 5)
    net.close()


def test_a_batch_may_be_larger_than_the_database(source):
    net = net_of(source, "batch_size: 10")
    assert labels(net, 1) == [*range(RECORDS), 0, 1, 2]
    net.close()


def test_goes_on_from_its_state_bit_for_bit(source):
    more = "transform_param { crop_size: 3 mirror: true }"
    net = net_of(source, more=more)
    labels(net, 2)
    state = {key: array.copy() for key, array in net.state().items()}
    assert state["d/position"].tolist() == [6]
    labels(net, 3)
    expected = net.blobs["x"].data.copy()
    other = net_of(source, more=more)
    labels(other, 1)
    other.load_state(state)
    labels(other, 3)
    np.testing.assert_array_equal(other.blobs["x"].data, expected)
    net.close()
    other.close()


def test_it_can_be_closed_and_used_again(source):
    net = net_of(source)
    assert labels(net, 1) == [0, 1, 2]
    net.close()
    assert labels(net, 1) == [3, 4, 5]
    net.close()


def test_rand_skip_begins_elsewhere(source):
    starts = {labels(net_of(source, f"batch_size: 1 rand_skip: {n}"), 1)[0] for n in (1, 5, 7)}
    assert starts <= set(range(RECORDS))
    assert labels(net_of(source, "batch_size: 1 rand_skip: 1"), 1) == [0]


def test_what_caffe_wrote_is_read(monkeypatch):
    monkeypatch.chdir(Path(__file__).parent.parent / "caffe")
    net = Net("net.prototxt", TEST, keep=True)
    net.forward()
    assert net.blobs["data"].shape == (12, 3, 16, 16)
    mean = read_blob("mean.binaryproto").reshape(3, 16, 16)
    first = net.blobs["data"].data.copy()
    net.forward()
    both = np.concatenate([first, net.blobs["data"].data])
    # All 24 records have come once, and their mean has been taken from them.
    np.testing.assert_allclose(both.mean(0), 0, atol=1e-3)
    assert mean.max() > 1
    net.close()


@pytest.mark.parametrize(
    ("settings", "more", "text"),
    [
        ("batch_size: 0", "", 'a.prototxt:3:2: layer "d": batch_size is 0'),
        ("", "", 'layer "d": batch_size is 0'),
        ("batch_size: 1", "transform_param { crop_size: 9 }", 'a.prototxt:3:36: layer "d": '),
        ("batch_size: 1", 'transform_param { mean_file: "none" }', "does not exist"),
    ],
)
def test_wrong_settings(source, settings, more, text):
    with pytest.raises((NetError, DataError)) as error:
        net_of(source, settings, more)
    assert text in str(error.value)


def test_a_source_is_needed():
    with pytest.raises(NetError, match='a.prototxt:1:1: layer "d": data_param has no source'):
        Net(net_from_text('layer { name: "d" type: "Data" top: "x" }', "a.prototxt"))


def test_a_source_that_is_not_there(tmp_path):
    with pytest.raises(DataError) as error:
        net_of(tmp_path / "none")
    assert str(error.value).startswith(f'a.prototxt:2:16: layer "d": {tmp_path}/none')


def test_a_damaged_record_is_told_when_it_comes(source, tmp_path):
    records = [
        (b"a", Datum(channels=1, height=1, width=2, data=b"ab").SerializeToString()),
        (b"b", b"\xff" * 9),
    ]
    shutil.rmtree(source)
    write_database(source, records)
    net = net_of(source, "batch_size: 2")
    with pytest.raises(DataError) as error:
        net.forward()
    assert 'a.prototxt:2:16: layer "d": ' in str(error.value)
    assert str(source) in str(error.value) and "record" in str(error.value)
    net.close()
