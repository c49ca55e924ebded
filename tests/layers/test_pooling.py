import numpy as np
import pytest

from caffelite.errors import NetError
from caffelite.net import Net
from caffelite.schema.text import net_from_text


def shape(size: int, settings: str) -> tuple[int, ...]:
    text = f"""layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 2 dim: {size} dim: {size} }} }} }}
    layer {{ name: "pool" type: "Pooling" bottom: "x" top: "y" pooling_param {{ {settings} }} }}"""
    net = Net(net_from_text(text, "net.prototxt"))
    net.forward()
    return net.blobs["y"].shape[2:]


@pytest.mark.parametrize("kind", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("size", "settings", "expected"),
    [
        (8, "kernel_size: 3 stride: 2", (4, 4)),  # rounded up
        (8, "kernel_size: 3 stride: 2 round_mode: FLOOR", (3, 3)),
        (2, "kernel_size: 3 stride: 2", (1, 1)),  # a window larger than the map counts, as a partial one
        (10, "kernel_size: 2 stride: 5", (3, 3)),  # the last window is beyond the map, unless there is a pad …
        (10, "kernel_size: 2 stride: 5 pad_h: 1 pad_w: 0", (3, 2)),  # … along either axis
        (8, "kernel_size: 4000000000 stride: 4000000000", (1, 1)),  # takes no memory
        (8, "global_pooling: true stride: 1 pad: 0", (1, 1)),
    ],
)
def test_number_of_windows(kind: str, size: int, settings: str, expected: tuple[int, int]) -> None:
    assert shape(size, f"pool: {kind} {settings}") == expected


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("kernel_size: 9", "a window of 9 does not fit into 8 with pad 0"),
        ("kernel_size: 10 stride: 2 round_mode: FLOOR", "a window of 10 does not fit into 8 with pad 0"),
        ("kernel_size: 2000000000 pad: 1999999999 stride: 1000000000", "larger than the"),
        ("global_pooling: true stride: 2", "global_pooling takes no stride and no pad"),
        ("global_pooling: true pad: 1", "global_pooling takes no stride and no pad"),
        ("global_pooling: true kernel_size: 3", "global_pooling takes no kernel size"),
        ("kernel_size: 2 pool: DEF_ALL", "there is no pool DEF_ALL in caffelite"),
    ],
)
def test_settings_that_do_not_fit(settings: str, expected: str) -> None:
    with pytest.raises(NetError, match="pool") as error:
        shape(8, settings)
    assert expected in str(error.value)


@pytest.mark.parametrize("settings", ["pool: AVE avg_include_pad: false", "pool: AVE_EXC_PAD"])
def test_mean_without_the_padding(settings: str) -> None:
    text = f"""layer {{ name: "in" type: "Input" top: "x" input_param {{ shape {{ dim: 1 dim: 1 dim: 3 dim: 4 }} }} }}
    layer {{ name: "pool" type: "Pooling" bottom: "x" top: "y"
             pooling_param {{ {settings} kernel_size: 3 stride: 2 pad: 1 }} }}"""
    net = Net(net_from_text(text, "net.prototxt"))
    net.blobs["x"].data[...] = np.arange(12).reshape(3, 4)
    net.forward()
    # Rows 0-1 and 1-2; columns 0-1, 1-3 and 3.
    assert net.blobs["y"].data.tolist() == [[[[2.5, 4, 5], [6.5, 8, 9]]]]
