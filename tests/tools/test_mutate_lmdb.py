"""Damaged databases end in a sentence; ``python tools/mutate_lmdb.py 10000`` reads more of them."""

import resource
from pathlib import Path

import mutate_lmdb


def test_damaged_databases_are_told_and_end_nothing(tmp_path: Path) -> None:
    mutate_lmdb.run(range(1), tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said, wrong = mutate_lmdb.run(range(300), tmp_path)
    assert not wrong
    assert said.total() == 300 and said["read"] < 150
    # Most of what can be told of a page is.
    assert sum(sentence.startswith("the database is damaged") for sentence in said) > 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10
