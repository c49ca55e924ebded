"""Every layer type has operators in ONNX, or a reason why not; and what cannot be converted is refused with it."""

import pytest

from caffelite.errors import NetError
from caffelite.export.onnx.convert import convert
from caffelite.export.onnx.operators import UNKNOWN, mappings, refused
from caffelite.layers.contract.registry import registry
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST

#: Types that have neither yet.
MISSING = set(
    """
    Accum AdaptiveBiasChannel Axpy BN BiasChannel BoxAnnotatorOHEM ChannelNorm ChannelScale ContinuationIndicator
    Convolution3D ConvolutionRistretto Correlation Correlation1D DeconvolutionRistretto DeformableConvolution
    DeformablePSROIPooling DetectionOutput Downsample EltwiseAffine FcRistretto Flip FlowWarp Insanity Interp
    LargeMarginInnerProduct Local Lstm MarginInnerProduct Mean NdConvolution NdPooling NegReLU Noise Normalize
    PSROIAlign PSROIPooling Pooling3D PriorBox Proposal ROIAlign ROIPooling RReLU Reorg Resample Reverse SeLu
    SeLuDropout ShuffleChannel SpatialDropout Transpose UniqueLabel Upsample YoloDetectionOutput
    Yolov3DetectionOutput
    """.split()
)


def test_every_type_is_mapped_or_refused_with_a_reason() -> None:
    kinds = [kind for kind, layer in registry().items() if not layer.facts.net_input]
    assert {kind for kind in kinds if kind not in mappings() and refused(kind) == UNKNOWN} <= MISSING


def test_what_is_mapped_is_a_type() -> None:
    assert mappings().keys() <= registry().keys()


def net(layers: str, shape: str = "dim: [4, 3]") -> Net:
    text = f'layer {{ name: "x" type: "Input" top: "x" input_param {{ shape {{ {shape} }} }} }}\n{layers}'
    return Net(net_from_text(text, "net.prototxt"), TEST, keep=True, learn=False)


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        (
            'layer { name: "L" type: "EuclideanLoss" bottom: "x" bottom: "x" top: "y" }',
            "EuclideanLoss cannot be written to ONNX: it is a loss, which only training takes",
        ),
        (
            'layer { name: "t" type: "Reduction" bottom: "x" top: "t" reduction_param { axis: 1 } }'
            'layer { name: "L" type: "Accuracy" bottom: "x" bottom: "t" top: "y" }',
            "Accuracy cannot be written to ONNX: it measures how good a net is, for which it takes labels",
        ),
        (
            'layer { name: "L" type: "DummyData" top: "y" dummy_data_param { shape { dim: 2 } data_filler '
            '{ type: "gaussian" } } }',
            "it draws numbers (filler gaussian), which no ONNX model can repeat",
        ),
        (
            'layer { name: "L" type: "ArgMax" bottom: "x" top: "y" argmax_param { axis: 0 } }',
            "it searches the batch, whose size must be known: give it with --batch",
        ),
        (
            'layer { name: "L" type: "Im2col" bottom: "x" top: "y" convolution_param { kernel_size: 2 axis: 0 } }',
            "its channels are the batch, whose size must be known: give it with --batch",
        ),
        (
            'layer { name: "t" type: "Tile" bottom: "x" top: "t" tile_param { axis: 0 tiles: 2 } }'
            'layer { name: "L" type: "Crop" bottom: "t" bottom: "x" top: "y" crop_param { axis: 0 offset: [1, 0] } }',
            "it cuts the batch, whose size must be known: give it with --batch",
        ),
        (
            'layer { name: "L" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { use_global_stats: false } }',
            "it normalises by the statistics of each batch here",
        ),
    ],
)
def test_what_is_refused(layers: str, reason: str) -> None:
    with pytest.raises(NetError, match='layer "L": ') as error:
        convert(net(layers))
    assert reason in str(error.value)
