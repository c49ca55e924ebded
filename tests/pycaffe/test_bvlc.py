"""What BVLC's own 52 unit tests of pycaffe assert, in our words, and the tests here that assert the same.

The tests themselves are not kept; ``python tools/pycaffe_tests.py`` fetches and runs them.
"""

from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

#: By BVLC's test: what it asserts, and where that is asserted here.
ASSERTED = {
    "test_coord_map.TestCoordMap.test_conv_pool_deconv": (
        "a pooling and a deconvolution of the same stride go to the same pixel; of stride 4, to the one before",
        "pycaffe/test_coord_map.py::test_down_and_up_again",
    ),
    "test_coord_map.TestCoordMap.test_pass": (
        "ReLU and a convolution of one pixel change no coordinates",
        "pycaffe/test_coord_map.py::test_down_and_up_again",
    ),
    "test_coord_map.TestCoordMap.test_padding": (
        "the padding of a convolution is taken off the offset, that of a deconvolution added",
        "pycaffe/test_coord_map.py::test_down_and_up_again",
    ),
    "test_coord_map.TestCoordMap.test_multi_conv": (
        "several bottoms and tops of one layer are mapped alike",
        "pycaffe/test_coord_map.py::test_each_bottom_and_top_of_a_layer",
    ),
    "test_coord_map.TestCoordMap.test_rect": (
        "settings by axis are mapped as each alone would be",
        "pycaffe/test_coord_map.py::test_each_axis_for_itself",
    ),
    "test_coord_map.TestCoordMap.test_nd_conv": (
        "so are three axes",
        "pycaffe/test_coord_map.py::test_each_axis_for_itself",
    ),
    "test_coord_map.TestCoordMap.test_crop_of_crop": (
        "the offset of a Crop is added",
        "pycaffe/test_coord_map.py::test_the_second_bottom_of_a_crop_says_nothing_of_coordinates",
    ),
    "test_coord_map.TestCoordMap.test_crop_helper": (
        "crop() makes a Crop layer",
        "pycaffe/test_coord_map.py::test_a_crop_takes_the_pixels_that_belong_together",
    ),
    "test_coord_map.TestCoordMap.test_catch_unconnected": (
        "tops whose coordinates have nothing to do with each other are a RuntimeError",
        "pycaffe/test_coord_map.py::test_the_second_bottom_of_a_crop_says_nothing_of_coordinates",
    ),
    "test_coord_map.TestCoordMap.test_catch_scale_mismatch": (
        "crop() asserts that the scales are the same",
        "pycaffe/test_coord_map.py::test_what_cannot_be_cropped",
    ),
    "test_coord_map.TestCoordMap.test_catch_negative_crop": (
        "and that the offset is not negative",
        "pycaffe/test_coord_map.py::test_what_cannot_be_cropped",
    ),
    "test_draw.TestDraw.test_draw_net": (
        "every net of the examples can be drawn",
        "pycaffe/test_as_bvlc.py::test_every_example_net_is_drawn",
    ),
    "test_io.TestBlobProtoToArray.test_old_format": (
        "a blob with num, channels, height and width is an array of four axes",
        "pycaffe/test_io.py::test_blobs_of_old_files_of_doubles_and_without_a_shape",
    ),
    "test_io.TestBlobProtoToArray.test_new_format": (
        "a blob with a shape is an array of it",
        "pycaffe/test_io.py::test_arrays_are_blobs_and_back",
    ),
    "test_io.TestBlobProtoToArray.test_no_shape": (
        "several values without a shape are a ValueError",
        "pycaffe/test_io.py::test_blobs_of_old_files_of_doubles_and_without_a_shape",
    ),
    "test_io.TestBlobProtoToArray.test_scalar": (
        "one value without a shape is a scalar",
        "pycaffe/test_io.py::test_blobs_of_old_files_of_doubles_and_without_a_shape",
    ),
    "test_io.TestArrayToDatum.test_label_none_size": (
        "a Datum without a label is smaller than one with a label",
        "pycaffe/test_io.py::test_images_are_datums_and_back",
    ),
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
        "pycaffe/test_as_bvlc.py::test_arrays_outlive_their_net",
    ),
    "test_net.TestNet.test_layer_dict": (
        "layer_dict has the layers by name, in order",
        "pycaffe/test_as_bvlc.py::test_names_of_a_net_with_data",
    ),
    "test_net.TestNet.test_forward_backward": (
        "a net with data runs forward and backward without arguments",
        "pycaffe/test_pycaffe_net.py::test_gradients_of_parameters_are_added_up",
    ),
    "test_net.TestNet.test_forward_start_end": (
        "one layer alone runs forward on what was written into its bottom",
        "pycaffe/test_as_bvlc.py::test_one_layer_alone",
    ),
    "test_net.TestNet.test_backward_start_end": (
        "one layer alone runs backward on what was written into the gradient of its top",
        "pycaffe/test_as_bvlc.py::test_one_layer_alone",
    ),
    "test_net.TestNet.test_clear_param_diffs": (
        "gradients of parameters are zero when they have been cleared",
        "pycaffe/test_pycaffe_net.py::test_backward_gives_gradients",
    ),
    "test_net.TestNet.test_inputs_outputs": (
        "a net with data has no inputs; its output is the loss",
        "pycaffe/test_as_bvlc.py::test_names_of_a_net_with_data",
    ),
    "test_net.TestNet.test_top_bottom_names": (
        "tops and bottoms are told by layer, in order",
        "pycaffe/test_as_bvlc.py::test_names_of_a_net_with_data",
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
        "pycaffe/test_as_bvlc.py::test_levels",
    ),
    "test_net.TestLevels.test_1": (
        "at level 1, layers for level 1 and for at least 0 or 1 are there",
        "pycaffe/test_as_bvlc.py::test_levels",
    ),
    "test_net.TestStages.test_A": (
        "a stage has its own layers, and those for it or another one",
        "pycaffe/test_as_bvlc.py::test_stages",
    ),
    "test_net.TestStages.test_B": (
        "so has another stage",
        "pycaffe/test_as_bvlc.py::test_stages",
    ),
    "test_net.TestStages.test_AandB": (
        "two stages have the layers that need both, too",
        "pycaffe/test_as_bvlc.py::test_stages",
    ),
    "test_net.TestAllInOne.test_train": (
        "one file is a net that trains, with a loss",
        "pycaffe/test_as_bvlc.py::test_one_file_for_training_validation_and_use",
    ),
    "test_net.TestAllInOne.test_val": (
        "a net that is tested, with a loss",
        "pycaffe/test_as_bvlc.py::test_one_file_for_training_validation_and_use",
    ),
    "test_net.TestAllInOne.test_deploy": (
        "and a net for use, with an input",
        "pycaffe/test_as_bvlc.py::test_one_file_for_training_validation_and_use",
    ),
    "test_net_spec.TestNetSpec.test_lenet": (
        "LeNet is written with names and without, with a ReLU in place, and can be built",
        "pycaffe/test_as_bvlc.py::test_a_net_is_written_with_names_and_without",
    ),
    "test_net_spec.TestNetSpec.test_zero_tops": (
        "layers without tops are in the net, which has no outputs",
        "pycaffe/test_as_bvlc.py::test_a_net_that_ends_in_silence",
    ),
    "test_net_spec.TestNetSpec.test_type_error": (
        "a bottom that is no Top is a TypeError that says which",
        "pycaffe/test_net_spec.py::test_mistakes_are_told_in_a_sentence",
    ),
    "test_python_layer.TestPythonLayer.test_forward": (
        "three Python layers one after the other compute",
        "pycaffe/test_as_bvlc.py::test_three_python_layers",
    ),
    "test_python_layer.TestPythonLayer.test_backward": (
        "their gradients go back to the input",
        "pycaffe/test_as_bvlc.py::test_three_python_layers",
    ),
    "test_python_layer.TestPythonLayer.test_reshape": (
        "all follow when the input gets another shape",
        "pycaffe/test_as_bvlc.py::test_three_python_layers",
    ),
    "test_python_layer.TestPythonLayer.test_exception": (
        "an exception in setup is a RuntimeError",
        "user_code/test_calls.py::test_what_goes_wrong_when_it_is_built_is_told",
    ),
    "test_python_layer.TestPythonLayer.test_parameter": (
        "a parameter made in setup is seen, saved, loaded and shared",
        "user_code/test_classes.py::test_the_python_interface_shows_the_object_and_its_parameters",
    ),
    "test_python_layer.TestPythonLayer.test_phase": (
        "a layer knows its phase",
        "user_code/test_classes.py::test_it_knows_the_phase",
    ),
    "test_python_layer_with_param_str.TestLayerWithParam.test_forward": (
        "param_str is the layer's in forward",
        "pycaffe/test_as_bvlc.py::test_three_python_layers",
    ),
    "test_python_layer_with_param_str.TestLayerWithParam.test_backward": (
        "and in backward",
        "pycaffe/test_as_bvlc.py::test_three_python_layers",
    ),
    "test_solver.TestSolver.test_solve": (
        "a solver begins at 0 and trains to max_iter",
        "pycaffe/test_pycaffe_solver.py::test_solve_and_snapshot",
    ),
    "test_solver.TestSolver.test_apply_update": (
        "an update with a gradient of ones takes the learning rate off each weight",
        "pycaffe/test_as_bvlc.py::test_an_update_is_the_rate_times_the_gradient",
    ),
    "test_solver.TestSolver.test_net_memory": (
        "a solver's nets can be read when the solver is gone",
        "pycaffe/test_as_bvlc.py::test_nets_outlive_their_solver",
    ),
    "test_solver.TestSolver.test_snapshot": (
        "a snapshot before the first iteration is two files, named after it",
        "pycaffe/test_as_bvlc.py::test_a_snapshot_before_the_first_iteration",
    ),
}


def test_all_of_them_are_here() -> None:
    assert len(ASSERTED) == 52


@pytest.mark.parametrize("place", sorted({place for _, place in ASSERTED.values()}))
def test_what_they_assert_is_asserted(place: str) -> None:
    file, _, name = place.partition("::")
    assert f"\ndef {name}(" in (TESTS / file).read_text()
