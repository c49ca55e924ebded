"""How many products a layer sums, against counts by other means."""

import numpy as np
import pytest
from runner import forward, gradients, layer_net

# With ones everywhere, and no padding, the tops add up to the number of products.
ONES = [
    ("Convolution", "convolution_param { num_output: 6 kernel_size: 3 stride: 2 bias_term: false }", [(2, 4, 9, 8)]),
    ("Convolution", "convolution_param { num_output: 6 kernel_size: 3 dilation: 2 bias_term: false }", [(2, 4, 9, 8)]),
    ("Convolution", "convolution_param { num_output: 6 kernel_size: 2 group: 2 bias_term: false }", [(2, 4, 5, 5)]),
    ("Convolution", "convolution_param { num_output: 4 kernel_size: 3 group: 4 bias_term: false }", [(2, 4, 9, 8)]),
    ("Convolution", "convolution_param { num_output: 3 kernel_size: 3 bias_term: false }", [(2, 4, 9)]),
    ("Convolution", "convolution_param { num_output: 3 kernel_size: 2 bias_term: false }", [(2, 4, 3, 4, 5)]),
    ("DepthwiseConvolution", "convolution_param { kernel_size: 3 bias_term: false }", [(2, 4, 9, 8)]),
    (
        "Convolution3D",
        "convolution3d_param { num_output: 3 kernel_size: 3 kernel_depth: 2 bias_term: false }",
        [(2, 4, 3, 5, 5)],
    ),
    (
        "NdConvolution",
        "convolution_param { num_output: 3 kernel_shape { dim: 3 dim: 3 dim: 2 } bias_term: false }",
        [(2, 4, 3, 5, 5)],
    ),
    ("ConvolutionRistretto", "convolution_param { num_output: 3 kernel_size: 3 bias_term: false }", [(2, 4, 5, 6)]),
    (
        "Deconvolution",
        "convolution_param { num_output: 6 kernel_size: 3 stride: 2 group: 2 bias_term: false }",
        [(2, 4, 5, 6)],
    ),
    ("DeconvolutionRistretto", "convolution_param { num_output: 3 kernel_size: 3 bias_term: false }", [(2, 4, 5, 6)]),
    (
        "DeformableConvolution",
        "deformable_convolution_param { num_output: 3 kernel_size: 3 deformable_group: 1 bias_term: false }",
        [(2, 4, 5, 6), (2, 18, 3, 4)],
    ),
    ("InnerProduct", "inner_product_param { num_output: 5 bias_term: false }", [(3, 4, 2)]),
    ("InnerProduct", "inner_product_param { num_output: 5 axis: 2 transpose: true bias_term: false }", [(3, 4, 2)]),
    ("FcRistretto", "inner_product_param { num_output: 5 bias_term: false }", [(3, 4, 2)]),
    ("LargeMarginInnerProduct", "largemargin_inner_product_param { num_output: 5 type: SINGLE }", [(3, 4, 2), (3,)]),
    ("Local", "local_param { num_output: 3 kernel_size: 3 stride: 2 bias_term: false }", [(2, 4, 7, 7)]),
]


@pytest.mark.parametrize(("kind", "settings", "shapes"), ONES)
def test_products_are_as_many_as_ones_add_up_to(kind: str, settings: str, shapes: list[tuple[int, ...]]) -> None:
    net = layer_net(kind, settings, *shapes)
    net.data.fill(1)
    # A second bottom moves (DeformableConvolution) or is a label.
    inputs = [np.ones(shapes[0], np.float32), *(np.zeros(shape, np.float32) for shape in shapes[1:])]
    y = forward(net, *inputs)
    dx, *_, dw = gradients(net, np.ones_like(y))
    work = net.work()[-1]
    assert work.forward_multiply_adds == y.sum() > 0
    assert work.backward_multiply_adds == dx.sum() + dw.sum()


@pytest.mark.parametrize(("kind", "more"), [("Correlation", ""), ("Correlation1D", "single_direction: 1")])
def test_products_of_a_correlation(kind: str, more: str) -> None:
    settings = f"correlation_param {{ kernel_size: 3 max_displacement: 2 stride_2: 2 {more} }}"
    net = layer_net(kind, settings, (2, 4, 9, 10), (2, 4, 9, 10))
    ones = np.ones((2, 4, 9, 10), np.float32)
    y = forward(net, ones, ones)
    of_each = 3 * 3 * 4  # the top has their mean
    da, db = gradients(net, np.ones_like(y))
    work = net.work()[-1]
    assert work.forward_multiply_adds == y.size * of_each == round(float(y.sum())) * of_each
    assert work.backward_multiply_adds == round(float(da.sum() + db.sum())) * of_each


@pytest.mark.parametrize(
    ("settings", "shape", "products"),
    [
        ("num_output: 96 kernel_size: 11 stride: 4", (1, 3, 227, 227), 105_415_200),
        ("num_output: 256 kernel_size: 5 pad: 2 group: 2", (1, 96, 27, 27), 223_948_800),
    ],
)
def test_products_of_alexnet(settings: str, shape: tuple[int, ...], products: int) -> None:
    net = layer_net("Convolution", f"convolution_param {{ {settings} }}", shape)
    assert net.work()[-1].forward_multiply_adds == products
    assert net.work()[-1].backward_multiply_adds == 2 * products


# Three time steps of two streams of 4 values, 5 hidden values; a static input of 6.
X, H, STATIC = 3 * 2 * 4 * 5, 3 * 2 * 5 * 5, 2 * 6 * 5
BACK = 2 * 2 * 5 * 5  # from the last step to the second, from the second to the first


@pytest.mark.parametrize(
    ("kind", "shapes", "forwards", "backwards"),
    [
        ("LSTM", [(3, 2, 4), (3, 2)], 4 * (X + H), 4 * (2 * X + H + BACK)),
        ("LSTM", [(3, 2, 4), (3, 2), (2, 6)], 4 * (X + H + STATIC), 4 * (2 * X + H + BACK + 2 * STATIC)),
        ("Lstm", [(3, 2, 4), (3, 2)], 4 * (X + H), 4 * (2 * X + H + BACK)),
        ("RNN", [(3, 2, 4), (3, 2)], X + H + H, 2 * X + H + BACK + 2 * H),
    ],
)
def test_products_of_recurrent_layers(kind: str, shapes: list[tuple[int, ...]], forwards: int, backwards: int) -> None:
    settings = "lstm_param" if kind == "Lstm" else "recurrent_param"
    work = layer_net(kind, f"{settings} {{ num_output: 5 }}", *shapes).work()[-1]
    assert (work.forward_multiply_adds, work.backward_multiply_adds) == (forwards, backwards)


def test_im2col_multiplies_nothing() -> None:
    work = layer_net("Im2col", "convolution_param { kernel_size: 3 }", (2, 4, 5, 5)).work()[-1]
    assert (work.forward_multiply_adds, work.backward_multiply_adds) == (0, 0)
