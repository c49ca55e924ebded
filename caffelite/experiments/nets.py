"""The nets of the experiments, as prototxt."""

from collections.abc import Sequence

#: Images in a batch of a test.
TEST_BATCH = 1000
#: Hidden layers of the net that most experiments train.
HIDDEN = (512, 256, 128, 64)


def mlp(
    hidden: Sequence[int],
    activation: str,
    normalized: Sequence[int] = (),
    *,
    batch: int,
    filler: str = 'type: "xavier" variance_norm: AVERAGE',
    settings: str = "moving_average_fraction: 0.99",
) -> str:
    """Return a net of inner products for 28×28 pixels, as a prototxt.

    Parameters
    ----------
    hidden : sequence of int
        Outputs of the hidden layers.
    activation : str
        ``"Sigmoid"`` or ``"ReLU"``.
    normalized : sequence of int
        Numbers, from 1 on, of the hidden layers that have a BatchNorm and a Scale between product and activation.
    batch : int
        Images a batch in TRAIN.
    filler : str
        Of all weights.
    settings : str
        Of all BatchNorm layers.
    """
    text = inputs(batch)
    below = "data"
    for i, outputs in enumerate(hidden, 1):
        norm = i in normalized
        text += product(f"ip{i}", below, outputs, filler, bias=not norm)
        text += normalize(f"ip{i}", str(i), settings) if norm else ""
        text += f'layer {{ name: "act{i}" type: "{activation}" bottom: "ip{i}" top: "act{i}" }}\n'
        below = f"act{i}"
    return text + product("score", below, 10, filler) + LOSS


LOSS = (
    'layer { name: "accuracy" type: "Accuracy" bottom: "score" bottom: "label" top: "accuracy" '
    "include { phase: TEST } }\n"
    'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }\n'
)


def inputs(batch: int) -> str:
    """Return the two Input layers, for TRAIN and TEST."""
    text = ""
    for phase, size in (("TRAIN", batch), ("TEST", TEST_BATCH)):
        text += (
            f'layer {{ name: "images" type: "Input" top: "data" top: "label" include {{ phase: {phase} }} '
            f"input_param {{ shape {{ dim: {size} dim: 1 dim: 28 dim: 28 }} shape {{ dim: {size} }} }} }}\n"
        )
    return text


def product(name: str, bottom: str, outputs: int, filler: str, bias: bool = True) -> str:
    """Return an InnerProduct layer."""
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" inner_product_param {{ '
        f"num_output: {outputs} bias_term: {str(bias).lower()} weight_filler {{ {filler} }} }} }}\n"
    )


def normalize(blob: str, name: str, settings: str = "") -> str:
    """Return a BatchNorm and a Scale layer that work in place."""
    return (
        f'layer {{ name: "bn{name}" type: "BatchNorm" bottom: "{blob}" top: "{blob}" '
        f"batch_norm_param {{ {settings} }} }}\n"
        f'layer {{ name: "scale{name}" type: "Scale" bottom: "{blob}" top: "{blob}" '
        "scale_param { bias_term: true } }\n"
    )


def convolution(name: str, bottom: str, outputs: int) -> str:
    """Return a Convolution layer of 5×5 without bias."""
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f'num_output: {outputs} kernel_size: 5 bias_term: false weight_filler {{ type: "xavier" }} }} }}\n'
    )
