"""caffelite extract_features."""

import lmdb
import numpy as np

import caffelite as package
from caffelite.schema.messages import Datum

WEIGHTS = "snap_iter_12.caffemodel"


def records(path):
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return [(key, Datum.FromString(value)) for key, value in transaction.cursor()]


def test_blobs_become_databases(caffelite, run_folder):
    code, out, _ = caffelite("extract_features", WEIGHTS, "net.prototxt", "pool1,ip", "maps,scores", "3", "lmdb", "CPU")
    assert (code, out) == (0, "maps: 36 records\nscores: 36 records\n")
    net = package.Net("net.prototxt", WEIGHTS, package.TEST)
    made = {name: records(name) for name in ("maps", "scores")}
    for batch in range(3):
        net.forward()
        for database, blob, shape in (("maps", "pool1", (6, 8, 8)), ("scores", "ip", (4, 1, 1))):
            for i in range(12):
                key, datum = made[database][12 * batch + i]
                assert key == b"%010d" % (12 * batch + i)
                assert (datum.channels, datum.height, datum.width) == shape
                assert not datum.HasField("data") and not datum.HasField("label")
                np.testing.assert_array_equal(np.float32(datum.float_data), net.blobs[blob].data[i].ravel())


def test_what_cannot_be_extracted(caffelite, run_folder):
    def told(*arguments):
        code, out, err = caffelite("extract_features", WEIGHTS, "net.prototxt", *arguments)
        assert (code, out) == (1, "")
        return err

    assert 'no blob "pol1" in the phase TEST; did you mean "pool1"?' in told("pol1", "made", "1", "lmdb")
    assert 'blob "loss" is of' in told("loss", "made", "1", "lmdb")
    assert "2 blobs and 1 databases" in told("ip,pool1", "made", "1", "lmdb")
    assert "made, made: give each blob a database of its own" in told("ip,pool1", "made,made", "1", "lmdb")
    assert "train_lmdb is there already" in told("ip", "train_lmdb", "1", "lmdb")
    assert not (run_folder / "made").exists()
