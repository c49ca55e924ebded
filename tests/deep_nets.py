"""Nets as text, for whatever draws or reads many layers: residual nets of any depth, and what stands before and behind."""

#: Names that would do harm where they were taken as markup, script or a format, as a prototxt has them.
HOSTILE = (
    r"</script><script>boom()</script>",
    r"<img src=x onerror=boom()>",
    r"\"quoted\" & \'such\'",
    r"a\nb",
    "שלום עולם",
    "x" * 300,
)


def block(name: str, bottom: str, outputs: int, projection: bool = False, stride: int = 1) -> str:
    """Return a residual block: three convolutions, each with BatchNorm and Scale, and what they are added to."""
    text, shortcut = "", bottom
    if projection:
        text, shortcut = _convolution(f"{name}_branch1", bottom, outputs, 1, stride, False), f"{name}_branch1"
    for part, (kernel, step) in zip("abc", ((1, stride), (3, 1), (1, 1)), strict=True):
        text += _convolution(f"{name}_branch2{part}", bottom, outputs, kernel, step, part != "c")
        bottom = f"{name}_branch2{part}"
    return (
        text
        + f'layer {{ name: "{name}" type: "Eltwise" bottom: "{shortcut}" bottom: "{bottom}" top: "{name}" }}\n'
        + f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}\n'
    )


def _convolution(name: str, bottom: str, outputs: int, kernel: int, stride: int, relu: bool) -> str:
    pad = kernel // 2
    text = (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "{bottom}" top: "{name}" convolution_param {{ '
        f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} bias_term: false }} }}\n"
        f'layer {{ name: "bn_{name}" type: "BatchNorm" bottom: "{name}" top: "{name}" }}\n'
        f'layer {{ name: "scale_{name}" type: "Scale" bottom: "{name}" top: "{name}" scale_param {{ bias_term: true }} }}\n'
    )
    return text + (f'layer {{ name: "{name}_relu" type: "ReLU" bottom: "{name}" top: "{name}" }}\n' if relu else "")


def residual_net(stages: tuple[int, ...]) -> str:
    """Return a residual net: so many blocks in each stage, the first of each with a projection."""
    text = 'name: "residual"\nlayer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 32 dim: 32 } } }\n'
    text += _convolution("conv1", "data", 4, 3, 1, True)
    bottom, outputs = "conv1", 4
    for stage, blocks in enumerate(stages, 2):
        for i in range(blocks):
            name = f"res{stage}_{i}"
            text += block(name, bottom, outputs, projection=i == 0, stride=2 if stage > 2 and i == 0 else 1)
            bottom = name
        outputs += 4
    return text + (
        f'layer {{ name: "fc" type: "InnerProduct" bottom: "{bottom}" top: "fc" inner_product_param {{ num_output: 10 }} }}\n'
        'layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }\n'
    )
