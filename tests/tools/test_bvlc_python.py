"""tools/bvlc_python.py: which cells failed, and the weights that stand in for trained ones."""

from pathlib import Path

import numpy as np
from bvlc_python import failures, put_weights

import caffelite

STDERR = """caffelite: a.ipynb, cell 1: left out: %matplotlib inline
caffelite: a.ipynb, cell 2:
Traceback (most recent call last):
KeyError: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "a.ipynb", line 3, in <module>
caffelite.errors.NetError: no net
a warning
caffelite: a.ipynb, cell 12:
AssertionError
caffelite: a.ipynb: these cells failed: 2, 12
"""
NET = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 400 } }
layer { name: "b" type: "InnerProduct" bottom: "a" top: "b" inner_product_param { num_output: 400 } }
"""


def test_cells_that_failed() -> None:
    assert failures(STDERR, "a.ipynb") == {2: "NetError: no net", 12: "AssertionError"}


def test_weights_keep_blobs_small(tmp_path: Path) -> None:
    file = tmp_path / "net.prototxt"
    file.write_text(NET)
    weights = str(tmp_path / "net.caffemodel")
    put_weights(str(file), weights, 100)
    net = caffelite.Net(str(file), weights, caffelite.TEST)
    net.blobs["x"].data[...] = 100
    net.forward()
    for name in "ab":
        assert 0.5 < np.std(net.blobs[name].data) < 2
