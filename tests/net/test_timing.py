"""What the layers of a net have to compute and to move, against counts by hand."""

from caffelite.net import Net
from caffelite.net.timing import LayerWork
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "t" type: "Input" top: "t" input_param { shape { dim: 2 dim: 6 } } }
layer { name: "a" type: "Convolution" bottom: "x" top: "a" convolution_param { num_output: 5 kernel_size: 3 } }
layer { name: "b" type: "ReLU" bottom: "a" top: "a" }
layer { name: "c" type: "Sigmoid" bottom: "a" top: "c" }
layer { name: "d" type: "Flatten" bottom: "c" top: "d" }
layer { name: "e" type: "InnerProduct" bottom: "d" top: "e" inner_product_param { num_output: 6 } %s }
layer { name: "l" type: "EuclideanLoss" bottom: "e" bottom: "t" top: "l" }
"""


def work_by_name(text: str, phase: int = 0) -> dict[str, LayerWork]:
    net = Net(net_from_text(text, "net.prototxt"), phase)
    return {time.name: work for time, work in zip(net.profile(1), net.work(), strict=True)}


def test_what_is_moved() -> None:
    work = work_by_name(NET % "")
    x, a, e, t = 2 * 3 * 4 * 4, 2 * 5 * 2 * 2, 2 * 6, 2 * 6
    wa, we = 5 * 3 * 9 + 5, 6 * 20 + 6
    moved = {name: (one.forward_bytes, one.backward_bytes) for name, one in work.items()}
    assert moved["x"] == moved["d"] == (0, 0)
    # No gradient of the net's input; the weights are not needed for their own.
    assert moved["a"] == (4 * (x + wa + a), 4 * (a + x + wa))
    assert moved["b+c"] == (4 * (a + a), 4 * (a + a + a))
    assert moved["e"] == (4 * (a + we + e), 4 * (e + a + we + a + we))
    assert moved["l"][0] == 4 * (e + t + 1)


def test_only_gradients_that_are_computed_count() -> None:
    products = 2 * 6 * 20
    work = work_by_name(NET % "")
    assert work["a"].backward_multiply_adds == work["a"].forward_multiply_adds == 2 * 5 * 4 * 27
    assert work["e"].backward_multiply_adds == 2 * products
    assert work_by_name(NET % "param { lr_mult: 0 }")["e"].backward_multiply_adds == products
    assert work_by_name(NET % "propagate_down: false")["e"].backward_multiply_adds == products
    inference = work_by_name(NET % "", TEST)["e"]
    assert (inference.forward_multiply_adds, inference.backward_multiply_adds) == (products, 0)
    assert inference.backward_bytes == 0


def test_shapes_are_those_of_the_last_pass() -> None:
    net = Net(
        net_from_text(
            """
            layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
            layer { name: "s" type: "Input" top: "s" input_param { shape { dim: 4 } } }
            layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "f" }
            layer { name: "e" type: "InnerProduct" bottom: "f" top: "e" inner_product_param { num_output: 5 } }
            """,
            "net.prototxt",
        ),
        TEST,
    )
    net.blobs["s"].data[...] = [0, 1, 0, 1]
    net.forward()
    assert net.work()[-1].forward_multiply_adds == 2 * 3 * 5
