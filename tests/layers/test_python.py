"""The layer Python: shapes, blobs, gradients and training of layers that users write."""

from pathlib import Path

import numpy as np
import pytest
from python_nets import inputs, net_of, python

import caffelite as caffe
from caffelite.errors import NetError, ShapeError
from caffelite.words import TRAIN

RNG = np.random.default_rng(2)


def test_a_loss_is_that_of_the_layer_in_caffe() -> None:
    text = "force_backward: true " + inputs((3, 4), (3, 4))
    mine = net_of(text + python("EuclideanLoss", "x0 x1", "y", 'param_str: ""') + "loss_weight: 1 }")
    theirs = net_of(text + 'layer { name: "l" type: "EuclideanLoss" bottom: "x0" bottom: "x1" top: "y" }')
    values = RNG.standard_normal((2, 3, 4))
    for net in (mine, theirs):
        for j in range(2):
            net.blobs[f"x{j}"].data[...] = values[j]
        net.forward()
        net.backward()
    assert mine.loss() == pytest.approx(theirs.loss(), rel=1e-6)
    for j in range(2):
        found, expected = mine.blobs[f"x{j}"].diff, theirs.blobs[f"x{j}"].diff
        np.testing.assert_allclose(found, expected, rtol=1e-5)  # type: ignore[arg-type]


def test_shapes_that_change_from_pass_to_pass() -> None:
    text = (
        python("Images", "", "x t", 'param_str: "[(4, 5), (7, 3), (7, 3), (1, 1)]"')
        + """}
        layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 3 kernel_size: 1
          weight_filler { type: "constant" value: 1 } } }
        layer { name: "p" type: "Pooling" bottom: "c" top: "p" pooling_param { pool: AVE global_pooling: true } }
        layer { name: "f" type: "Flatten" bottom: "p" top: "f" }
        layer { name: "l" type: "SoftmaxWithLoss" bottom: "f" bottom: "t" top: "l" }"""
    )
    for keep in (False, True):
        net = net_of(text, keep=keep)
        for i in range(9):
            net.forward()
            net.backward()
            assert net.blobs["x"].shape == (1, 2, *[(4, 5), (7, 3), (7, 3), (1, 1)][i % 4])
            assert (net.blobs["x"].data == i + 1).all()
            assert net.blobs["t"].data.tolist() == [(i + 1) % 2]
            assert net.loss() == pytest.approx(np.log(3), rel=1e-4)
            if keep:
                assert net.blobs["c"].shape[2:] == net.blobs["x"].shape[2:]
                np.testing.assert_allclose(net.blobs["p"].data, 2 * (i + 1), rtol=1e-4)


def test_a_shape_that_parameters_do_not_fit_is_refused_and_the_net_goes_on() -> None:
    net = net_of(
        python("Images", "", "x t", 'param_str: "[(4, 5), (7, 3), (4, 5)]"')
        + '} layer { name: "i" type: "InnerProduct" bottom: "x" top: "i" inner_product_param { num_output: 2 '
        'weight_filler { type: "constant" value: 1 } } }'
    )
    net.forward()
    for _ in range(2):
        with pytest.raises(ShapeError, match=r'layer "i": with the new input its parameters would need shapes 2×42, 2'):
            net.forward()
        net.forward()
        assert (net.blobs["i"].data == 40 * net.blobs["x"].data[0, 0, 0, 0]).all()
        net.forward()
        assert (net.blobs["i"].data == 40 * net.blobs["x"].data[0, 0, 0, 0]).all()


def test_shapes_that_depend_on_the_data() -> None:
    net = net_of(
        "force_backward: true "
        + inputs((3, 4))
        + python("Positive", "x0", "y")
        + "}"
        + 'layer { name: "p" type: "Power" bottom: "y" top: "z" power_param { scale: 3 } loss_weight: 1 }'
    )
    for _ in range(5):
        values = RNG.standard_normal((3, 4)).astype(np.float32)
        net.blobs["x0"].data[...] = values
        net.forward()
        np.testing.assert_array_equal(net.blobs["z"].data, 3 * values[values > 0])
        net.backward()
        np.testing.assert_array_equal(net.blobs["x0"].diff, 3 * (values > 0))


#: As py-faster-rcnn is built: what one layer makes of the images meets what another makes of them in ``forward``.
TWICE = """
    layer { name: "c" type: "Convolution" bottom: "x" top: "c" convolution_param { num_output: 3 kernel_size: 1
      weight_filler { type: "constant" value: 1 } } }
    %s }
    layer { name: "s" type: "Scale" bottom: "o" top: "s" scale_param { filler { value: 2 } } }
    %s }
    layer { name: "e" type: "Eltwise" bottom: "p" bottom: "s" top: "e" }
    layer { name: "l" type: "EuclideanLoss" bottom: "c" bottom: "e" top: "l" }"""
TWICE %= python("Ones", "c", "o"), python("Ones", "s", "p")


@pytest.mark.parametrize("keep", [False, True])
def test_layers_behind_two_that_give_shapes_in_forward(keep: bool) -> None:
    sizes = [(4, 5), (7, 3), (7, 3), (1, 1), (2, 9)]
    net = net_of(python("Images", "", "x t", f'param_str: "{sizes}"') + "}" + TWICE, keep=keep)
    for i in range(12):
        height, width = sizes[i % 5]
        assert net.forward() == pytest.approx(3 * height * width * (2 * (i + 1) - 3) ** 2 / 2, rel=1e-5)
        net.zero_grad()
        net.backward()
        weights, scale = net.params["c"][0].diff, net.params["s"][0].diff
        assert weights is not None and scale is not None
        each = (2 * (i + 1) - 3) * height * width
        np.testing.assert_allclose(weights, each * (i + 1), rtol=1e-4)
        np.testing.assert_allclose(scale, -each, rtol=1e-4)


def test_inputs_that_are_reshaped_before_such_layers(tmp_path: Path) -> None:
    (tmp_path / "a.prototxt").write_text(
        'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 4 dim: 5 } } }' + TWICE
    )
    net = caffe.Net(tmp_path / "a.prototxt", caffe.TRAIN, allow_python=True)
    for height, width in [(4, 5), (7, 3), (7, 3), (2, 9)]:
        net.blobs["x"].reshape(1, 2, height, width)
        net.reshape()
        assert net.blobs["c"].shape == (1, 3, height, width)
        net.blobs["x"].data[...] = 5
        assert net.forward()["l"] == pytest.approx(3 * height * width * 49 / 2, rel=1e-5)
        assert net.blobs["e"].shape == (1, 3, height, width)
        net.backward()


def test_in_place() -> None:
    net = net_of(
        "force_backward: true "
        + inputs((3, 4))
        + 'layer { name: "p" type: "Power" bottom: "x0" top: "y" }'
        + python("Half", "y", "y")
        + "loss_weight: 1 }",
        keep=False,
    )
    values = RNG.standard_normal((3, 4)).astype(np.float32)
    net.blobs["x0"].data[...] = values
    for _ in range(2):
        assert net.forward() == pytest.approx(values[values > 0].sum(), rel=1e-5)
        net.backward()


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("through", ["top", "bottom"])
def test_a_blob_that_is_written_in_place_is_one_object(through: str, keep: bool) -> None:
    net = net_of(
        "force_backward: true " + inputs((3, 4)) + 'layer { name: "p" type: "Power" bottom: "x0" top: "y" '
        "power_param { scale: 3 } }" + python("Doubled", "y", "y", f'param_str: "{through}"') + "loss_weight: 2 }",
        keep=keep,
    )
    values = RNG.standard_normal((3, 4)).astype(np.float32)
    net.blobs["x0"].data[...] = values
    for _ in range(2):
        assert net.forward() == pytest.approx(12 * values.sum(), rel=1e-5)
        net.backward()
        gradient = net.blobs["x0"].diff
        assert gradient is not None and (gradient == 12).all()


@pytest.mark.parametrize("keep", [False, True])
def test_gradients_that_are_computed_in_forward(keep: bool) -> None:
    net = net_of(
        "force_backward: true " + inputs((2, 3), (2, 3)) + python("Early", "x0 x1", "y") + "loss_weight: 1 }", keep=keep
    )
    for i in range(3):
        net.blobs["x0"].data[...] = i
        net.forward()
        for _ in range(2):
            net.backward()
            first, second = net.blobs["x0"].diff, net.blobs["x1"].diff
            assert first is not None and (first == 2 * i).all()
            assert second is not None and not second.any()


def test_the_layer_is_told_which_gradients_are_wanted() -> None:
    text = inputs((2, 2)) + "".join(
        f'layer {{ name: "{name}" type: "{kind}" bottom: "x0" top: "{name}" {more} }}'
        for name, kind, more in [
            ("a", "Power", ""),
            ("b", "InnerProduct", "inner_product_param { num_output: 2 }"),
            ("c", "Bias", ""),
        ]
    )
    loss = python("Wanted", "a b c", "y") + "propagate_down: true propagate_down: true propagate_down: false "
    net = net_of(text + loss + "loss_weight: 1 }")
    net.forward()
    net.backward()
    user = net.layers[-1].user  # type: ignore[attr-defined]
    assert user.wanted == [False, True, False]


def test_share_in_parallel_changes_nothing() -> None:
    net = net_of(python("Phase", "", "y", "share_in_parallel: true") + "}")
    net.forward()
    assert net.blobs["y"].data == TRAIN


def test_it_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOG_minloglevel", "1")
    text = inputs((3, 2, 4)) + python("Scaled", "x0", "y", 'param_str: "0"') + "}\n"
    text += (
        'layer { name: "r" type: "Reduction" bottom: "y" top: "l" reduction_param { operation: SUMSQ } loss_weight: 1 }'
    )
    (tmp_path / "a.prototxt").write_text(text)
    solver = tmp_path / "solver.prototxt"
    solver.write_text(
        f'net: "{tmp_path}/a.prototxt" base_lr: 0.005 lr_policy: "fixed" snapshot_prefix: "{tmp_path}/s" max_iter: 9'
    )
    for made in (caffe.SGDSolver(solver, allow_python=True), caffe.get_solver(solver, allow_python=True)):
        made.net.blobs["x0"].data[...] = 1
        made.step(3)
        # The loss is 12 w² of each, its gradient 24 w.
        np.testing.assert_allclose(made.net.params["Scaled"][0].data, 2 * (1 - 0.005 * 24) ** 3, rtol=1e-5)


@pytest.mark.parametrize("missing", ["module", "layer"])
def test_module_and_class_are_needed(missing: str) -> None:
    text = python("Phase", "", "y").replace(f'{missing}: "', 'param_str: "') + "}"
    with pytest.raises(NetError, match=f'layer "Phase": python_param needs {missing}'):
        net_of(text)
