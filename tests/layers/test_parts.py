"""What processes compute of the pieces of a batch is together what one process computes of it, or is refused."""

from itertools import groupby
from typing import Any

import numpy as np
import pytest
from cases import golden_cases, net_cases
from groups import in_threads

from caffelite.errors import NetError, ShapeError
from caffelite.layers.contract.group import ALONE, PIECES, TURNS, Group
from caffelite.layers.contract.registry import registry
from caffelite.net import Net
from caffelite.schema.documents import NetDocument
from caffelite.schema.text import net_from_text
from caffelite.words import TEST, TRAIN

#: How many times the images of a case the batch has.
TIMES = 3
BY_TYPE = {kind: list(group) for kind, group in groupby((*golden_cases(), *net_cases()), lambda case: case[0])}
#: The first and the last case of each type, all of losses and measures.
CASES = [
    case
    for kind, group in BY_TYPE.items()
    if kind in registry()
    for case in (
        group
        if registry()[kind].facts.kind in ("loss", "measure")
        else {id(c): c for c in (group[0], group[-1])}.values()
    )
]
#: Those in which images meet by the settings, or whose sources have batches that do not divide alike.
MEETING = {"Concat-140", "Flatten-133", "Slice-144", "Tile-152", "Permute-some", "Transpose-four", "Silence-two"}
#: Types that draw random numbers in TRAIN, and what they are in a net that learns.
RANDOM = {
    "Dropout": "dropout_param { dropout_ratio: 0.4 }",
    "SpatialDropout": "",
    "SeLuDropout": "",
    "RReLU": "",
    "Noise": "noise_param { gaussian_std: 0.3 }",
    "Noise of factors": "noise_param { sigma: 0.3 mu: 1 }",
    "Pooling": "pooling_param { pool: STOCHASTIC kernel_size: 2 }",
}
#: A net of one layer on a source of its own.
NET = """layer {{ name: "data" type: "DummyData" top: "x" dummy_data_param {{ shape {{ dim: 7 dim: 2 dim: 2 dim: 2 }}
  data_filler {{ type: "uniform" }} }} }}
layer {{ name: "L" type: "{type}" bottom: "x" top: "y" {settings} }}"""
SUM = 'layer { name: "sum" type: "Reduction" bottom: "y" top: "sum" loss_weight: 1 }'


def document_of(case: dict[str, np.ndarray]) -> tuple[NetDocument, dict[str, np.ndarray]]:
    """Return the net of a case with a source that can be divided, and what that has to bring."""
    document = net_from_text(str(case["prototxt"]), "case")
    document.message.force_backward = True
    rng, given = np.random.default_rng(5), {}
    for layer in document.message.layer:
        if layer.type != "Input":
            continue
        shapes = list(layer.input_param.shape) * (len(layer.top) if len(layer.input_param.shape) == 1 else 1)
        layer.type = "DummyData"
        for name, shape in zip(layer.top, shapes, strict=True):
            dims = tuple(shape.dim)
            parts = [case.get(f"x{name[1:]}", rng.standard_normal(dims)).reshape(dims) for _ in range(TIMES)]
            if f"gx{name[1:]}" in case:
                parts = [part + 0.02 * rng.standard_normal(dims) for part in parts]
            given[name] = np.concatenate(parts).astype(np.float32) if dims else parts[0].astype(np.float32)
            layer.dummy_data_param.shape.add().dim.extend(given[name].shape)
    return document, given


def run(case: dict[str, np.ndarray], phase: int, group: Group) -> dict[str, Any]:
    """Return this process's part of what the net computes."""
    document, given = document_of(case)
    net = Net(document, phase, keep=True, allow_python=True, group=group, seed=7)
    rng = np.random.default_rng(6)
    for name, whole in given.items():
        blob = net.blobs[name]
        first, _ = net.context.place_in_batch(len(blob.data)) if blob.shape else (0, 1)
        blob.data[...] = whole[first : first + len(blob.data)] if blob.shape else whole
    for j, blob in enumerate(net.params.get("L", [])):
        values = rng.standard_normal(blob.shape)
        if f"w{j}" in case:
            blob.data[...] = case[f"w{j}"].reshape(blob.shape)
        elif blob.diff is not None:
            blob.data[...] = values
    net.forward()
    node = net.graph.nodes[-1]
    for version in node.tops:
        blob = net.blobs[version.name]
        if blob.diff is None:
            continue
        if version.of_batch:
            blob.diff[...] = rng.standard_normal(blob.shape) * net.part
        else:
            first, whole = net.context.place_in_batch(len(blob.data))
            blob.diff[...] = rng.standard_normal((whole, *blob.shape[1:]))[first : first + len(blob.data)]
    net.zero_grad()
    net.backward()
    result: dict[str, Any] = net.combine({version.name: net.blobs[version.name].data for version in node.tops})
    for name in given:
        if net.blobs[name].diff is not None:
            result |= {f"gradient of {name}": net.combine({name: net.blobs[name].diff})[name]}
    result["gradients of parameters"] = net.diff.astype(np.float64)
    result["loss"] = np.float64(net.loss())
    net.close()
    return result


def check(kind: str, case: dict[str, np.ndarray], phase: int, size: int) -> str:
    """Hold the sum of what processes have against one process; return why they were refused."""
    alone = run(case, phase, ALONE)
    try:
        parts = in_threads(size, lambda group: run(case, phase, group))
    except NetError as error:
        return str(error)
    for name, expected in alone.items():
        if name not in parts[0]:
            continue  # values of images whose shapes may depend on the data
        found = sum(part[name] for part in parts)
        scale = max(float(np.abs(expected).max(initial=0)), 1e-3)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale, err_msg=f"{kind}: {name}")
    return ""


@pytest.mark.parametrize(("kind", "what", "case"), CASES, ids=[f"{k}-{n}" for k, n, _ in CASES])
def test_pieces_are_together_what_one_process_computes(kind: str, what: str, case: dict[str, np.ndarray]) -> None:
    given = document_of(case)[1]
    # As many as do not divide the batch, most of the time.
    size = 4 if min((len(x) for x in given.values() if x.ndim), default=0) > TIMES else 2
    try:
        reason = check(kind, case, TRAIN if str(case["phase"]) == "TRAIN" else TEST, size)
    except (ShapeError, ValueError):
        pytest.skip("one of its bottoms has no images along axis 0, and cannot be larger")
    assert bool(reason) == bool(registry()[kind].facts.images_meet or f"{kind}-{what}" in MEETING), reason


@pytest.mark.parametrize(
    ("kind", "scores", "labels", "settings"),
    [
        ("SegAccuracy", "2 3 2 2", "2 1 2 2", "seg_accuracy_param { ignore_label: 2 }"),
        ("Accuracy", "2 3 2 2", "2 1 2 2", 'top: "y1" accuracy_param { ignore_label: 2 }'),
        ("LabelsequenceAccuracy", "2 4 3", "2 4", ""),
    ],
)
def test_measures_are_those_of_the_whole_batch(kind: str, scores: str, labels: str, settings: str) -> None:
    shapes = [" ".join(f"dim: {n}" for n in shape.split()) for shape in (scores, labels)]
    text = f"""layer {{ name: "in" type: "Input" top: "x0" top: "x1" input_param {{ shape {{ {shapes[0]} }}
        shape {{ {shapes[1]} }} }} }}
        layer {{ name: "L" type: "{kind}" bottom: "x0" bottom: "x1" top: "y0" {settings} }}"""
    classes = np.float32([2, 0, 1, 1, 2, 2, 0, 2])
    assert not check(kind, {"prototxt": np.array(text), "x1": classes}, TRAIN, 4)


@pytest.mark.parametrize("kind", RANDOM)
@pytest.mark.parametrize("dealing", [PIECES, TURNS])
def test_what_is_drawn_is_that_of_the_whole_batch(kind: str, dealing: str) -> None:
    text = NET.format(type=kind.split()[0], settings=RANDOM[kind])

    def passes(group: Group) -> list[np.ndarray]:
        net = Net(net_from_text(text), TRAIN, group=group, dealing=dealing)
        drawn = []
        for _ in range(2):
            net.forward()
            drawn.append(net.combine({"y": net.blobs["y"].data})["y"])
        return drawn

    if dealing == TURNS:
        text = text.replace("uniform", "constant")  # the source draws another batch for each
        whole = Net(net_from_text(text.replace("dim: 7", "dim: 21")), TRAIN)
        whole.forward()
        expected = [whole.blobs["y"].data]
    else:
        expected = passes(ALONE)
    found = in_threads(3, passes)
    for i, alone in enumerate(expected):
        np.testing.assert_allclose(sum(part[i] for part in found), alone, rtol=0, atol=1e-6)


def test_a_sum_over_the_images_is_the_batch_s() -> None:
    text = NET.format(type="InnerProduct", settings="inner_product_param { num_output: 2 weight_filler { value: 1 } }")

    def loss(group: Group) -> list[float]:
        net = Net(net_from_text(text + SUM), TRAIN, group=group)
        loss = net.forward()
        net.backward()
        return [loss, float(net.diff.sum()), float(net.combine({"sum": net.blobs["sum"].data})["sum"]), net.part]

    parts = in_threads(3, loss)
    assert np.sum(parts, axis=0) == pytest.approx(loss(ALONE), rel=1e-6)
    assert [part[3] for part in parts] == [3 / 7, 2 / 7, 2 / 7]


def test_processes_that_take_turns_in_a_test_have_batches_of_their_own() -> None:
    def part(group: Group) -> float:
        return Net(net_from_text(NET.format(type="ReLU", settings="")), TEST, group=group, dealing=TURNS).part

    assert in_threads(2, part) == [1, 1]


def refusal(text: str, dealing: str = PIECES) -> str:
    with pytest.raises(NetError) as error:
        in_threads(2, lambda group: Net(net_from_text(text, "net"), TRAIN, group=group, dealing=dealing))
    return str(error.value)


def test_what_cannot_be_shared_is_refused() -> None:
    source = 'layer { name: "in" type: "Input" top: "x" input_param { shape { dim: 4 } } }'
    assert refusal(source, TURNS) == (
        'net:1:1: layer "in": 2 processes cannot share a batch that a program fills in: none knows which images are '
        "its own"
    )
    softmax = NET.format(type="Softmax", settings="softmax_param { axis: 0 }")
    assert refusal(softmax) == (
        'net:3:1: layer "L": a batch cannot be divided among 2 processes where images meet in Softmax: it works along '
        "axis 0, that of the images; with --batch per-process each has whole batches"
    )
    in_threads(2, lambda group: Net(net_from_text(softmax), TRAIN, group=group, dealing=TURNS))
    other = source.replace('"Input"', '"DummyData"').replace("input_param", "dummy_data_param").replace('"x"', '"z"')
    assert "has 2 of its 4 records, but 4 of the 7 of a source before it" in refusal(softmax + other)
    text = NET.format(type="ReLU", settings="") + SUM
    squared = 'layer { name: "p" type: "Power" bottom: "sum" top: "p" power_param { power: 2 } }'
    assert 'have a "sum" each, whose mean is that of the batch, and Power of a mean is not' in refusal(text + squared)
    twice = 'layer { name: "e" type: "Eltwise" bottom: "sum" bottom: "sum" top: "e" }'
    in_threads(2, lambda group: Net(net_from_text(text + twice), TRAIN, group=group))


@pytest.mark.parametrize("dealing", [PIECES, TURNS])
def test_a_python_source_runs_whole_and_each_process_keeps_its_rows(dealing: str) -> None:
    text = 'layer { name: "s" type: "Python" top: "x" python_param { module: "layers_in_python" layer: "Rows" } }'

    def rows(group: Group) -> list[list[float]]:
        net = Net(net_from_text(text), TRAIN, group=group, dealing=dealing, allow_python=True)
        taken = []
        for _ in range(2):
            net.forward()
            taken.append(net.blobs["x"].data.tolist())
        return taken

    if dealing == PIECES:
        assert in_threads(2, rows) == [[[0, 1], [3, 4]], [[2], [5]]]
    else:
        assert in_threads(2, rows) == [[[0, 1, 2], [6, 7, 8]], [[3, 4, 5], [9, 10, 11]]]
