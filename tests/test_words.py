"""Words that every room uses."""

from functools import partial

from caffelite.words import close_names, did_you_mean, distance

KNOWN = ("conv1", "conv2", "pool")


def test_did_you_mean():
    assert did_you_mean("conv11", KNOWN) == '; did you mean "conv1"?'
    assert did_you_mean("bias", KNOWN) == ""
    assert did_you_mean("bias", KNOWN, "it can be any") == "; it can be any"
    assert did_you_mean("conv", KNOWN, find=partial(close_names, most=2)) == '; did you mean "conv2" or "conv1"?'
    assert did_you_mean("poo", KNOWN, write=str.upper) == "; did you mean POOL?"


def test_close_names():
    assert close_names("conv", iter(KNOWN), most=3) == ["conv2", "conv1"]
    assert close_names("po", KNOWN, cutoff=0.9) == []


def test_distance():
    assert distance("", "abc") == 3
    assert distance("kitten", "sitting") == 3
    assert distance("ab", "ba") == 1
    assert distance("same", "same") == 0
