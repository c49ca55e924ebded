import pytest

from caffelite.schema.messages import message_class
from caffelite.schema.names import slips_of


def nearest(message: str, name: str) -> list[str]:
    return slips_of(name, message_class(message).DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize(
    ("message", "name", "right"),
    [
        ("LayerParameter", "botom", "bottom"),
        ("LayerParameter", "nmae", "name"),
        ("LayerParameter", "convolutoin_param", "convolution_param"),
        ("LayerParameter", "pooling_parm", "pooling_param"),
        ("LayerParameter", "inner_product", "inner_product_param"),
        ("LayerParameter", "Name", "name"),
        ("ConvolutionParameter", "kernal_size", "kernel_size"),
        ("ConvolutionParameter", "kernelsize", "kernel_size"),
        ("ConvolutionParameter", "kernel", "kernel_size"),
        ("ConvolutionParameter", "weight_fillter", "weight_filler"),
        ("ParamSpec", "lr_mutl", "lr_mult"),
        ("DropoutParameter", "dropout_rate", "dropout_ratio"),
        ("SolverParameter", "step_size", "stepsize"),
        ("SolverParameter", "base_Ir", "base_lr"),
    ],
)
def test_slips(message: str, name: str, right: str) -> None:
    assert nearest(message, name) == [right]


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("LayerParameter", "conv_param"),  # could be meant for several
        ("LayerParameter", "crelu_param"),
        ("LayerParameter", "unpooling_param"),
        ("LayerParameter", "convolution4d_param"),
        ("LayerParameter", "quantum_param"),
        ("NetParameter", "quantize"),
        ("ConvolutionParameter", "kernel_d"),
        ("FeatureDecayLossParameter", "incay_threshold"),
        ("ParamSpec", "lr"),
    ],
)
def test_names_of_their_own(message: str, name: str) -> None:
    assert nearest(message, name) == []
