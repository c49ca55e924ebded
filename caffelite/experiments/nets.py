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


def cifar10_bn(settings: str = "") -> str:
    """Return the net of ``models/cifar10_bn.prototxt``: three convolutions with sigmoids, each behind a BatchNorm.

    It reads the databases in ``data``, as that file does.

    Parameters
    ----------
    settings : str
        Of all BatchNorm layers, beside ``use_global_stats``.
    """
    text = ""
    for phase, batch in (("TRAIN", 100), ("TEST", 1000)):
        text += (
            f'layer {{ name: "cifar" type: "Data" top: "data" top: "label" include {{ phase: {phase} }} '
            'transform_param { mean_file: "data/cifar10_mean.binaryproto" } '
            f'data_param {{ source: "data/cifar10_{phase.lower()}_lmdb" batch_size: {batch} backend: LMDB }} }}\n'
        )
    text += (
        _padded_convolution("conv1", "data", 32, 0.0001)
        + _pooling("pool1", "conv1", "MAX")
        + _normalize_by_phase("bn1", "pool1", settings)
        + _sigmoid("sigmoid1", "bn1")
        + _padded_convolution("conv2", "sigmoid1", 32, 0.01)
        + _normalize_by_phase("bn2", "conv2", settings)
        + _sigmoid("sigmoid2", "bn2")
        + _pooling("pool2", "sigmoid2", "AVE")
        + _padded_convolution("conv3", "pool2", 64, 0.01)
        + _normalize_by_phase("bn3", "conv3", settings)
        + _sigmoid("sigmoid3", "bn3")
        + _pooling("pool3", "sigmoid3", "AVE")
    )
    text += (
        'layer { name: "ip1" type: "InnerProduct" bottom: "pool3" top: "ip1" '
        "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 1 decay_mult: 0 } inner_product_param { num_output: 10 "
        'weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" } } }\n'
    )
    return f'name: "cifar10_bn"\n{text}{LOSS.replace("score", "ip1")}'


def _padded_convolution(name: str, bottom: str, outputs: int, std: float) -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" param {{ lr_mult: 1 }} '
        f"convolution_param {{ num_output: {outputs} kernel_size: 5 pad: 2 stride: 1 bias_term: false "
        f'weight_filler {{ type: "gaussian" std: {std} }} }} }}\n'
    )


def _pooling(name: str, bottom: str, method: str) -> str:
    return (
        f'layer {{ name: "{name}" type: "Pooling" bottom: "{bottom}" top: "{name}" '
        f"pooling_param {{ pool: {method} kernel_size: 3 stride: 2 }} }}\n"
    )


def _normalize_by_phase(name: str, bottom: str, settings: str) -> str:
    """Return a BatchNorm layer for each phase, which has use_global_stats set."""
    return "".join(
        f'layer {{ name: "{name}" type: "BatchNorm" bottom: "{bottom}" top: "{name}" include {{ phase: {phase} }} '
        f"batch_norm_param {{ use_global_stats: {stored} {settings} }} }}\n"
        for phase, stored in (("TRAIN", "false"), ("TEST", "true"))
    )


def _sigmoid(name: str, bottom: str) -> str:
    return f'layer {{ name: "{name}" type: "Sigmoid" bottom: "{bottom}" top: "{name}" }}\n'


def convolution(name: str, bottom: str, outputs: int) -> str:
    """Return a Convolution layer of 5×5 without bias."""
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f'num_output: {outputs} kernel_size: 5 bias_term: false weight_filler {{ type: "xavier" }} }} }}\n'
    )
