"""What rounding does to a net, beside what a mistake does."""

import numpy as np

from caffelite.export.rounding import is_rounding, moved_by_rounding
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

NET = """
layer { name: "in" type: "Input" top: "x" top: "w" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 4
  weight_filler { type: "xavier" } } }
layer { name: "words" type: "Embed" bottom: "w" top: "rows" embed_param { input_dim: 9 num_output: 2
  weight_filler { type: "xavier" } } }
"""


def test_the_net_is_as_it_was_afterwards():
    net = Net(net_from_text(NET), TEST, keep=True, learn=False)
    net.blobs["x"].data[...] = np.linspace(-1, 1, 6).reshape(2, 3)
    net.blobs["w"].data[...] = [[7, 1, 3], [8, 0, 5]]
    net.forward()
    before = {name: blob.data.copy() for name, blob in net.blobs.items()} | {"all": net.data.copy()}
    y, rows = moved_by_rounding(net, [net.graph.names["y"], net.graph.names["rows"]])
    assert 0 < y.max() < 1e-5
    # Another word would be another row.
    assert rows.max() < 1e-5
    for name, values in before.items():
        np.testing.assert_array_equal(net.data if name == "all" else net.blobs[name].data, values)


def test_a_few_places_and_all_places():
    moved = np.full((10, 100), 1e-6)
    moved[0, :3] = 1
    apart = np.full((10, 100), 1e-6)
    apart[5, 7:20] = 1
    assert is_rounding(apart, moved, 1e-4)
    apart[5:] = 1
    assert not is_rounding(apart, moved, 1e-4)
    assert not is_rounding(np.full((10, 100), 9.0), moved, 1e-4)
    assert not is_rounding(np.full((10, 100), np.nan), moved, 1e-4)
