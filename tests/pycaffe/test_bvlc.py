"""What BVLC's own 52 unit tests of pycaffe assert, in our words, and the tests here that assert the same.

The tests themselves are not kept; ``python tools/pycaffe_tests.py`` fetches and runs them.
"""

from pathlib import Path

import numpy as np
import pytest

import caffelite as caffe

HERE = Path(__file__)
TESTS = HERE.parent.parent

#: By BVLC's test: what it asserts, and where that is asserted here.
ASSERTED = {
    "test_layer_type_list.test_standard_types": (
        "the list of layer types has Data, Convolution and InnerProduct",
        "pycaffe/test_pycaffe_solver.py::test_modes",
    ),
    "test_nccl.test_newuid": (
        "where there is NCCL, the name of an exchange is bytes",
        "pycaffe/test_pycaffe_solver.py::test_a_program_for_several_gpus_runs_with_one",
    ),
    "test_net.TestNet.test_memory": (
        "values and gradients of blobs and parameters can be read when the net is gone",
        "pycaffe/test_bvlc.py::test_arrays_outlive_their_net",
    ),
    "test_net.TestNet.test_layer_dict": (
        "layer_dict has the layers by name, in order",
        "pycaffe/test_bvlc.py::test_names_of_a_net_with_data",
    ),
    "test_net.TestNet.test_forward_backward": (
        "a net with data runs forward and backward without arguments",
        "pycaffe/test_pycaffe_net.py::test_gradients_of_parameters_are_added_up",
    ),
    "test_net.TestNet.test_forward_start_end": (
        "one layer alone runs forward on what was written into its bottom",
        "pycaffe/test_bvlc.py::test_one_layer_alone",
    ),
    "test_net.TestNet.test_backward_start_end": (
        "one layer alone runs backward on what was written into the gradient of its top",
        "pycaffe/test_bvlc.py::test_one_layer_alone",
    ),
    "test_net.TestNet.test_clear_param_diffs": (
        "gradients of parameters are zero when they have been cleared",
        "pycaffe/test_pycaffe_net.py::test_backward_gives_gradients",
    ),
    "test_net.TestNet.test_inputs_outputs": (
        "a net with data has no inputs; its output is the loss",
        "pycaffe/test_bvlc.py::test_names_of_a_net_with_data",
    ),
    "test_net.TestNet.test_top_bottom_names": (
        "tops and bottoms are told by layer, in order",
        "pycaffe/test_bvlc.py::test_names_of_a_net_with_data",
    ),
    "test_net.TestNet.test_save_and_read": (
        "saved weights are read by both constructors",
        "pycaffe/test_pycaffe_net.py::test_weights_in_both_orders_of_arguments",
    ),
    "test_net.TestNet.test_save_hdf5": (
        "weights saved as HDF5 are read again",
        "pycaffe/test_pycaffe_net.py::test_saved_weights_come_back",
    ),
    "test_net.TestLevels.test_0": (
        "without a level, layers for level 0 and for at least 0 are there",
        "pycaffe/test_bvlc.py::test_levels",
    ),
    "test_net.TestLevels.test_1": (
        "at level 1, layers for level 1 and for at least 0 or 1 are there",
        "pycaffe/test_bvlc.py::test_levels",
    ),
    "test_net.TestStages.test_A": (
        "a stage has its own layers, and those for it or another one",
        "pycaffe/test_bvlc.py::test_stages",
    ),
    "test_net.TestStages.test_B": (
        "so has another stage",
        "pycaffe/test_bvlc.py::test_stages",
    ),
    "test_net.TestStages.test_AandB": (
        "two stages have the layers that need both, too",
        "pycaffe/test_bvlc.py::test_stages",
    ),
    "test_net.TestAllInOne.test_train": (
        "one file is a net that trains, with a loss",
        "pycaffe/test_bvlc.py::test_one_file_for_training_validation_and_use",
    ),
    "test_net.TestAllInOne.test_val": (
        "a net that is tested, with a loss",
        "pycaffe/test_bvlc.py::test_one_file_for_training_validation_and_use",
    ),
    "test_net.TestAllInOne.test_deploy": (
        "and a net for use, with an input",
        "pycaffe/test_bvlc.py::test_one_file_for_training_validation_and_use",
    ),
    "test_solver.TestSolver.test_solve": (
        "a solver begins at 0 and trains to max_iter",
        "pycaffe/test_pycaffe_solver.py::test_solve_and_snapshot",
    ),
    "test_solver.TestSolver.test_apply_update": (
        "an update with a gradient of ones takes the learning rate off each weight",
        "pycaffe/test_bvlc.py::test_an_update_is_the_rate_times_the_gradient",
    ),
    "test_solver.TestSolver.test_net_memory": (
        "a solver's nets can be read when the solver is gone",
        "pycaffe/test_bvlc.py::test_nets_outlive_their_solver",
    ),
    "test_solver.TestSolver.test_snapshot": (
        "a snapshot before the first iteration is two files, named after it",
        "pycaffe/test_bvlc.py::test_a_snapshot_before_the_first_iteration",
    ),
}


@pytest.mark.parametrize("place", sorted({place for _, place in ASSERTED.values()}))
def test_what_they_assert_is_asserted(place: str) -> None:
    file, _, name = place.partition("::")
    assert f"\ndef {name}(" in (TESTS / file).read_text()


NET = """
force_backward: true
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } data_filler { type: "gaussian" }
    data_filler { type: "constant" value: 1 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "scores"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 2 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" }
"""
RULES = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 } } }
layer { name: "always" type: "ReLU" bottom: "x" top: "always" }
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.prototxt").write_text(NET)
    return caffe.Net(tmp_path / "net.prototxt", caffe.TRAIN)


def test_arrays_outlive_their_net(net):
    net.forward()
    net.backward()
    blobs = [*net.params["fc"], *net.blobs.values()]
    expected = [(blob.data.copy(), blob.diff.copy()) for blob in blobs]
    del net
    for blob, (data, diff) in zip(blobs, expected, strict=True):
        np.testing.assert_array_equal(blob.data, data)
        np.testing.assert_array_equal(blob.diff, diff)


def test_names_of_a_net_with_data(net):
    assert (net.inputs, net.outputs) == ([], ["loss"])
    assert list(net.layer_dict) == net._layer_names == ["data", "fc", "loss"]
    assert [net.layer_dict[name] for name in net._layer_names] == net.layers
    assert list(net.top_names.items()) == [("data", ["data", "label"]), ("fc", ["scores"]), ("loss", ["loss"])]
    assert list(net.bottom_names.items()) == [("data", []), ("fc", ["data"]), ("loss", ["scores", "label"])]


def test_one_layer_alone(net):
    rng = np.random.default_rng(0)
    net.blobs["data"].data[...] = x = rng.standard_normal((2, 3))
    weights, bias = (blob.data for blob in net.params["fc"])
    assert set(net.forward(start="fc", end="fc")) == {"scores"}
    np.testing.assert_allclose(net.blobs["scores"].data, x @ weights.T + bias, rtol=1e-5)
    net.blobs["scores"].diff[...] = gradient = rng.standard_normal((2, 4))
    assert set(net.backward(start="fc", end="fc")) == {"data"}
    np.testing.assert_allclose(net.blobs["data"].diff, gradient @ weights, rtol=1e-4, atol=1e-6)


def rules(folder: Path, **included: str) -> Path:
    """Write a net with a layer for each of these rules."""
    layers = (
        f'layer {{ name: "{name}" type: "ReLU" bottom: "x" top: "{name}" {rule} }}' for name, rule in included.items()
    )
    (folder / "rules.prototxt").write_text(RULES + "\n".join(layers))
    return folder / "rules.prototxt"


def test_levels(tmp_path):
    one = {f"only{n}": f"include {{ min_level: {n} max_level: {n} }}" for n in (0, 1)}
    more = {f"from{n}": f"include {{ min_level: {n} }}" for n in (0, 1)}
    file = rules(tmp_path, **one, **more)
    assert list(caffe.Net(file, caffe.TEST).blobs) == ["x", "always", "only0", "from0"]
    assert list(caffe.Net(file, caffe.TEST, level=1).blobs) == ["x", "always", "only1", "from0", "from1"]


def test_stages(tmp_path):
    a, b = ('include { stage: "a" }', 'include { stage: "b" }')
    file = rules(tmp_path, a=a, b=b, either=a + b, both='include { stage: "a" stage: "b" }')
    assert list(caffe.Net(file, caffe.TEST, stages=["a"]).blobs) == ["x", "always", "a", "either"]
    assert list(caffe.Net(file, caffe.TEST, stages=["b"]).blobs) == ["x", "always", "b", "either"]
    both = caffe.Net(file, caffe.TEST, stages=["a", "b"])
    assert list(both.blobs) == ["x", "always", "a", "b", "either", "both"]


THREE_IN_ONE = """
layer { name: "train" type: "DummyData" top: "data" top: "label" include { phase: TRAIN stage: "train" }
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "val" type: "DummyData" top: "data" top: "label" include { phase: TEST stage: "val" }
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }
layer { name: "use" type: "Input" top: "data" include { phase: TEST stage: "use" }
  input_param { shape { dim: 2 dim: 3 } } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "scores" inner_product_param { num_output: 4 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss"
  include { phase: TRAIN stage: "train" } include { phase: TEST stage: "val" } }
layer { name: "prob" type: "Softmax" bottom: "scores" top: "prob" include { phase: TEST stage: "use" } }
"""


@pytest.mark.parametrize(
    ("phase", "stage", "inputs", "output"),
    [
        (caffe.TRAIN, "train", [], "loss"),
        (caffe.TEST, "val", [], "loss"),
        (caffe.TEST, "use", ["data"], "prob"),
    ],
)
def test_one_file_for_training_validation_and_use(phase, stage, inputs, output, tmp_path):
    (tmp_path / "net.prototxt").write_text(THREE_IN_ONE)
    net = caffe.Net(tmp_path / "net.prototxt", phase, stages=[stage])
    assert net.blobs["data"].shape == (2, 3)
    assert (net.inputs, net.outputs) == (inputs, [output])


@pytest.fixture
def solver(net, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOG_minloglevel", "2")
    monkeypatch.chdir(tmp_path)
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.01 momentum: 0.9 lr_policy: "fixed" max_iter: 5 test_iter: 1 test_interval: 5\n'
        'snapshot_prefix: "model"'
    )
    return caffe.SGDSolver("solver.prototxt")


def test_an_update_is_the_rate_times_the_gradient(solver):
    weights = solver.net.layers[1].blobs[0]
    weights.data[...] = 0
    weights.diff[...] = 1
    solver.apply_update()
    np.testing.assert_allclose(weights.data, -0.01, rtol=1e-6)


def test_nets_outlive_their_solver(solver):
    nets = [solver.net, *solver.test_nets]
    del solver
    assert len(nets) == 2
    for net in nets:
        assert net.forward()["loss"].shape == ()


def test_a_snapshot_before_the_first_iteration(solver):
    solver.snapshot()
    assert Path("model_iter_0.caffemodel").is_file() and Path("model_iter_0.solverstate").is_file()
