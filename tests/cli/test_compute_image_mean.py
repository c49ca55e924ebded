"""``caffelite compute_image_mean``: Caffe's own mean file, and what it prints."""

import json
from pathlib import Path

import numpy as np
import pytest
from records import records

import caffelite as package
from caffelite.schema.blobs import read_blob


@pytest.mark.parametrize(
    "order", [["train_lmdb", "-backend=lmdb", "new.binaryproto"], ["train_lmdb", "new.binaryproto"]]
)
def test_the_file_is_that_of_caffe_byte_for_byte(order, caffelite, run_folder):
    code, out, err = caffelite("compute_image_mean", *order)
    assert code == 0, err
    assert Path("new.binaryproto").read_bytes() == Path("mean.binaryproto").read_bytes()
    values = read_blob("mean.binaryproto")[0].mean(axis=(1, 2))
    told = "".join(f"mean_value channel [{i}]: {value:.6g}\n" for i, value in enumerate(values))
    assert out == f"24 images of 3×16×16; mean: new.binaryproto\n{told}"


def test_encoded_images_have_the_same_mean(caffelite, run_folder):
    code, out, _ = caffelite("compute_image_mean", "encoded_lmdb", "--json")
    answer = json.loads(out)
    assert (code, answer["images"], answer["shape"], answer["mean_file"]) == (0, 24, [3, 16, 16], None)
    expected = np.mean(
        [np.frombuffer(d.data, np.uint8).reshape(3, -1).mean(axis=1) for _, d in records("train_lmdb")], 0
    )
    np.testing.assert_allclose(answer["mean_values"], expected, rtol=1e-6)


def test_floats_have_a_mean(caffelite, run_folder):
    values = np.random.default_rng(1).normal(size=(5, 2, 3, 4)).astype(np.float32)
    package.write_lmdb("floats", [(image, 0) for image in values])
    assert caffelite("compute_image_mean", "floats", "floats.binaryproto")[0] == 0
    np.testing.assert_allclose(read_blob("floats.binaryproto")[0], values.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_what_is_wrong_is_one_sentence(caffelite, run_folder):
    package.write_lmdb("two", [(np.zeros((3, 4), np.uint8), 0), (np.zeros((4, 3), np.uint8), 0)], check_size=False)
    for source, said in {
        "none": "none: there is no such database",
        "two": "two: record 1 has shape 1×4×3, the first 1×3×4; a mean takes images of one size",
        "train_leveldb": "train_leveldb: this is a LevelDB",
    }.items():
        code, _, err = caffelite("compute_image_mean", source, "new.binaryproto")
        assert code == 1 and said in err and not Path("new.binaryproto").exists()
