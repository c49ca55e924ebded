"""Every rule of ``caffelite bn check``: a net in which it finds something, and where, and the mended one."""

from pathlib import Path

import numpy as np
import pytest

from caffelite.batchnorm.check import check, measure
from caffelite.batchnorm.rules import RULES
from caffelite.batchnorm.subject import Subject, subject_of, take_weights
from caffelite.cli.preparing import nets_and_solver
from caffelite.errors import WeightsError
from caffelite.layers.shared.normalizing import Statistics
from caffelite.net import Net
from caffelite.words import TRAIN

NET = """layer { name: "d" type: "DummyData" top: "x" top: "l" include { phase: TRAIN }
  dummy_data_param { shape { dim: 16 dim: 4 } shape { dim: 16 } data_filler { type: "gaussian" } data_filler { } } }
layer { name: "t" type: "DummyData" top: "x" top: "l" include { phase: TEST }
  dummy_data_param { shape { dim: 16 dim: 4 } shape { dim: 16 } data_filler { type: "gaussian" } data_filler { } } }
layer { name: "i" type: "InnerProduct" bottom: "x" top: "a" inner_product_param { num_output: 3 bias_term: false
  weight_filler { type: "xavier" } } }
layer { name: "n" type: "BatchNorm" bottom: "a" top: "b" }
layer { name: "s" type: "Scale" bottom: "b" top: "b" scale_param { bias_term: true } param { decay_mult: 0 }
  param { decay_mult: 0 } }
layer { name: "r" type: "ReLU" bottom: "b" top: "b" }
layer { name: "p" type: "InnerProduct" bottom: "b" top: "p" inner_product_param { num_output: 2 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "p" bottom: "l" top: "loss" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 5000 weight_decay: 0.001 test_iter: 1 test_interval: 9\n'
NORM = 'layer { name: "n" type: "BatchNorm" bottom: "a" top: "b" }\n'
SCALE = NET[NET.index('layer { name: "s"') : NET.index('layer { name: "r"')]


def phases(test: str) -> str:
    """Return the layer once for TRAIN, and as ``test`` for TEST."""
    return NORM.replace(" }\n", " include { phase: TRAIN } }\n") + test.replace(" }\n", " include { phase: TEST } }\n")


def before_norm(kind: str, bottom: str, top: str) -> str:
    """Return the net with a layer before its BatchNorm, which works in place."""
    layer = f'layer {{ name: "z" type: "{kind}" bottom: "{bottom}" top: "{top}" }}\n'
    net = NET.replace(NORM, layer + NORM.replace('"a"', f'"{top}"').replace('"b"', f'"{top}"'))
    return net.replace('name: "s" type: "Scale" bottom: "b"', f'name: "s" type: "Scale" bottom: "{top}"')


@pytest.mark.parametrize("kind", ["ReLU", "Dropout"])
def test_layers_that_do_not_need_their_output(subject, kind: str) -> None:
    assert found(subject(before_norm(kind, "a", "z"))) == {}


@pytest.fixture
def subject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def make(net: str = NET, solver: str | None = SOLVER) -> Subject:
        Path("net.prototxt").write_text(net)
        Path("net_solver.prototxt").unlink(missing_ok=True)
        if solver is not None:
            Path("net_solver.prototxt").write_text(solver)
        return subject_of(*nets_and_solver(Path("net.prototxt")))

    return make


def found(subject: Subject) -> dict[str, tuple[str, str]]:
    return {rule.name: (finding.place, finding.layer) for rule, finding in check(subject).findings}


def test_nothing_is_found_in_a_sound_net(subject) -> None:
    assert found(subject()) == found(subject(solver=None)) == {}
    assert check(subject()).layers == 1


@pytest.mark.parametrize(
    ("rule", "net", "solver", "line", "layer"),
    [
        ("learned-statistics", NET.replace(NORM, NORM.replace(" }\n", " param { lr_mult: 1 } }\n")), SOLVER, 7, "n"),
        (
            "batch-statistics-in-test",
            NET.replace(NORM, phases(NORM.replace(" }\n", " batch_norm_param { use_global_stats: false } }\n"))),
            SOLVER,
            8,
            "n",
        ),
        (
            "stored-statistics-in-train",
            NET.replace(NORM, NORM.replace(" }\n", " batch_norm_param { use_global_stats: true } }\n")),
            SOLVER,
            7,
            "n",
        ),
        ("unshared-names", NET.replace(NORM, phases(NORM.replace('"n"', '"m"'))), SOLVER, 8, "m"),
        ("no-scale", NET.replace(SCALE, ""), SOLVER, 7, "n"),
        ("bias-without-effect", NET.replace("bias_term: false", "bias_term: true"), SOLVER, 5, "i"),
        (
            "overwritten-input",
            NET.replace(
                NORM, 'layer { name: "e" type: "Power" bottom: "a" top: "e" }\n' + NORM.replace('"b"', '"a"')
            ).replace('name: "s" type: "Scale" bottom: "b"', 'name: "s" type: "Scale" bottom: "a"'),
            SOLVER,
            8,
            "n",
        ),
        ("overwritten-output", before_norm("Sigmoid", "a", "z"), SOLVER, 8, "n"),
        ("overwritten-output", before_norm("ReLU", "a", "a"), SOLVER, 8, "n"),
        ("tiny-batch", NET.replace("dim: 16", "dim: 2"), SOLVER, 2, "d"),
        ("iter-size", NET.replace("dim: 16", "dim: 8"), SOLVER + "iter_size: 4\n", 2, "d"),
        ("slow-average", NET, SOLVER.replace("5000", "500"), 7, "n"),
        ("decayed-scale", NET.replace("decay_mult: 0", "decay_mult: 1"), SOLVER, 8, "s"),
    ],
)
def test_a_rule_finds_it_and_where(subject, rule: str, net: str, solver: str, line: int, layer: str) -> None:
    findings = found(subject(net, solver))
    assert set(findings) == {rule}
    place, name = findings[rule]
    if rule == "iter-size":
        assert place.startswith("net_solver.prototxt:2:")
    else:
        assert place.startswith(f"net.prototxt:{line}:") and name == layer


def weights(blobs: list[np.ndarray] | None, name: str = "n") -> str:
    net = Net("net.prototxt", TRAIN)
    for i, blob in enumerate(net.params["n"]):
        blob.data[...] = 1
        if blobs is not None and i < len(blobs):
            blob.data[...] = blobs[i]
    net.save("w.caffemodel")
    return "w.caffemodel"


@pytest.mark.parametrize(
    ("rule", "blobs"),
    [
        ("no-statistics", [np.zeros(3), np.zeros(3), np.zeros(1)]),
        ("not-a-number", [np.array([0, np.nan, 0]), np.ones(3), np.ones(1)]),
        ("negative-variance", [np.zeros(3), np.array([1, -1, 1]), np.ones(1)]),
    ],
)
def test_what_the_weights_hold(subject, rule: str, blobs: list[np.ndarray]) -> None:
    made = subject()
    take_weights(made, [weights(blobs)])
    assert set(found(made)) == {rule}
    assert found(made)[rule][0].startswith("net.prototxt:7:")
    sound = subject()
    take_weights(sound, [weights([np.zeros(3), np.ones(3), np.ones(1)])])
    assert found(sound) == {}


def test_statistics_far_from_the_data(subject) -> None:
    made = subject()
    take_weights(made, [weights([np.full(3, 50), np.ones(3), np.ones(1)])])
    assert found(made) == {}  # nothing is measured yet
    made.measured, why = measure(nets_and_solver(Path("net.prototxt"))[0], ["w.caffemodel"], 3)
    assert why == "" and isinstance(made.measured["n"], Statistics)
    assert set(found(made)) == {"far-statistics"}
    near = made.measured["n"]
    for distance, rules in ((0.0, set()), (0.15, set()), (0.25, {"far-statistics"})):
        take_weights(made, [weights([near.mean + distance * np.sqrt(near.variance), near.variance, np.ones(1)])])
        assert set(found(made)) == rules


def test_the_layout_of_another_fork(subject) -> None:
    made = subject(
        NET.replace(NORM, NORM.replace(" }\n", " batch_norm_param { scale_bias: true } }\n")).replace(SCALE, "")
    )
    take_weights(made, [weights([np.zeros(3), np.ones(3), np.ones(1), np.full(3, 2.0), np.ones(3)])])
    assert found(made) == {}
    made = subject()
    take_weights(made, ["w.caffemodel"])
    assert set(found(made)) == {"fork-layout"}


def test_weights_of_another_net(subject) -> None:
    subject()
    weights(None)
    other = subject(NET.replace('name: "n"', 'name: "q"').replace('name: "s"', 'name: "q2"'))
    take_weights(other, ["w.caffemodel"])
    assert set(found(other)) == {"no-statistics"}
    made = subject(NET.replace('name: "', 'name: "other_'))
    with pytest.raises(WeightsError, match="w.caffemodel: none of its"):
        take_weights(made, ["w.caffemodel"])


def test_every_rule_is_documented_and_tested() -> None:
    page = (Path(__file__).parents[2] / "docs" / "bn-check.md").read_text()
    tests = Path(__file__).read_text()
    for rule in RULES.values():
        assert f"## {rule.name}\n" in page
        assert rule.summary.rstrip(".") in page.replace("\n", " ")
        assert f'"{rule.name}"' in tests
