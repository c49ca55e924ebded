"""caffelite convert_db."""

import shutil
from pathlib import Path

import lmdb

CAFFE = Path(__file__).parents[1] / "caffe"


def records(path: Path) -> dict[bytes, bytes]:
    with lmdb.open(str(path), readonly=True, lock=False) as environment, environment.begin() as transaction:
        return dict(transaction.cursor())


def test_a_leveldb_becomes_an_lmdb(caffelite, run_folder):
    assert caffelite("convert-db", "train_leveldb", "made") == (0, "made: 24 records\n", "")
    assert records(run_folder / "made") == records(CAFFE / "train_lmdb")
    assert caffelite("convert_db", "train_leveldb", "again", "--json")[1] == '[{"database": "again", "records": 24}]\n'


def test_what_cannot_be_converted(caffelite, run_folder):
    code, _, err = caffelite("convert_db", "train_lmdb", "made")
    assert code == 1 and err.startswith("caffelite: train_lmdb: not a LevelDB")
    code, _, err = caffelite("convert_db", "train_leveldb", "train_lmdb")
    assert code == 1 and "train_lmdb is there already" in err
    (run_folder / "train_leveldb" / "000003.log").unlink()
    code, _, err = caffelite("convert_db", "train_leveldb", "made")
    assert (code, err) == (1, "caffelite: train_leveldb: the database is empty\n")
    assert not (run_folder / "made").exists()


def test_a_record_that_was_never_written_is_told(caffelite, tmp_path):
    source = Path(shutil.copytree(Path(__file__).parents[1] / "data" / "leveldb", tmp_path / "source"))
    log = source / "000011.log"
    log.write_bytes(log.read_bytes()[:-1])
    code, out, err = caffelite("convert_db", str(source), str(tmp_path / "made"))
    assert code == 0 and out.endswith(" records\n")
    assert err == f"{log} ends within a record, which was never written to its end; it is left out\n"
    log.unlink()
    for table in source.glob("*.ldb"):
        table.unlink()
    (source / "MANIFEST-000009").write_bytes(b"")
    log.write_bytes(b"abc")
    code, _, err = caffelite("convert_db", str(source), str(tmp_path / "none"))
    assert code == 1 and "the database is empty; " in err and "ends within a record" in err


def test_a_net_tells_how_to_convert_its_leveldb(caffelite, run_folder):
    shutil.rmtree("train_lmdb")
    Path("train_leveldb").rename("train_lmdb")
    code, _, err = caffelite("train", "solver.prototxt")
    assert code == 1
    assert 'this is a LevelDB; "caffelite convert_db train_lmdb NEW" copies it' in err
