"""Where a value is not finite: what is told, what is saved, and that a run without one is left alone."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffelite.errors import DivergenceError, SolverError
from caffelite.net import Net
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.schema.text import net_from_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.non_finite import explain
from caffelite.solvers.rules import RULES
from caffelite.solvers.solver import Solver

INPUTS = """
layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "labels" type: "Input" top: "t" input_param { shape { dim: 4 } } }
"""
# Gaussian data from a layer that counts its passes, everything that fuses, random numbers and stored statistics.
DRAWN = """
layer { name: "data" type: "DummyData" top: "x" top: "t" dummy_data_param {
  shape { dim: 8 dim: 2 dim: 5 dim: 5 } shape { dim: 8 } data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }
layer { name: "scale" type: "Scale" bottom: "conv" top: "conv" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
layer { name: "drop" type: "Dropout" bottom: "conv" top: "conv" }
"""


def scores(bottom: str) -> str:
    """Return scores of two classes and their loss."""
    return f"""
    layer {{ name: "ip" type: "InnerProduct" bottom: "{bottom}" top: "ip"
      inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} }} }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "t" top: "loss" }}
    """


#: A root of 0: its gradient is infinite, its value is not.
ROOT = """
layer { name: "pre" type: "InnerProduct" bottom: "x" top: "pre" inner_product_param { num_output: 2 } }
layer { name: "root" type: "Power" bottom: "pre" top: "pre" power_param { power: 0.5 } }
"""


class Said(Listener):
    """Notes what is said; something may be done when an iteration begins."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.begins: Callable[[int], Any] = lambda iteration: None

    def on_say(self, text: str) -> None:
        self.said.append(text)

    def on_iteration(self, iteration: int) -> None:
        self.begins(iteration)


def make(folder: Path, net: str, solver: str = "base_lr: 0.1", **options: Any) -> Solver:
    text = f'net_param {{ name: "n" {net} }} lr_policy: "fixed" snapshot_prefix: "{folder}/s" {solver}'
    made = Solver(parse_text(text, messages.SolverParameter, "s.prototxt"), Said(), **options)
    if "x" in made.net.inputs:
        made.net.blobs["x"].data[...] = np.random.default_rng(0).standard_normal((4, 3))
        made.net.blobs["t"].data[...] = [0, 1, 0, 1]
    return made


def stopped(solver: Solver, iterations: int = 10) -> str:
    with pytest.raises(DivergenceError) as caught:
        solver.step(iterations)
    return str(caught.value)


def values(solver: Solver) -> list[np.ndarray]:
    """All that a run goes on from."""
    return [solver.net.data, *solver.rule.history, *solver.net.state().values()]


def test_data(tmp_path: Path) -> None:
    solver = make(tmp_path, INPUTS + scores("x"))
    solver.listener.begins = lambda i: solver.net.blobs["x"].data.__setitem__((1, 2), np.nan if i == 3 else 0.5)
    text = stopped(solver)
    assert text.startswith(
        'iteration 3: the loss is nan; the first that is not finite is in layer "data" (Input), blob'
    )
    assert '"x": ' in text and "1 of 12 values NaN" in text and "it is in the data" in text
    assert f"--snapshot {tmp_path}/s_iter_3.solverstate" in text
    assert solver.iteration == 3 and np.isfinite(solver.net.data).all()


def test_a_rate_that_is_too_high(tmp_path: Path) -> None:
    solver = make(tmp_path, INPUTS + scores("x"), "base_lr: 3e38 momentum: 0.99")
    text = stopped(solver)
    assert 'layer "ip" (InnerProduct), blob "ip": ' in text and "values infinite" in text
    assert 'it read "x" (-1.265 to 1.304' in text and "lower base_lr" in text
    assert np.isfinite(solver.net.data).all()


def test_parameters_that_were_loaded(tmp_path: Path) -> None:
    given = make(tmp_path, INPUTS + scores("x"))
    given.net.params["ip"][0].data[0, 1] = np.nan
    given.net.save(tmp_path / "w.caffemodel")
    solver = make(tmp_path, INPUTS + scores("x"), weights=[tmp_path / "w.caffemodel"])
    text = stopped(solver)
    assert "(InnerProduct), parameter ip/0: " in text and "1 of 6 values NaN" in text
    assert "from the weights that the net started with" in text and "nothing is saved" in text
    assert [path.name for path in tmp_path.iterdir()] == ["w.caffemodel"]


@pytest.mark.parametrize("settings", ["", "iter_size: 3", "clip_gradients: 1", "type: 'Adam' iter_size: 2"])
def test_gradients_alone(settings: str, tmp_path: Path) -> None:
    solver = make(tmp_path, INPUTS + ROOT + scores("pre"), f"base_lr: 0.1 average_loss: 3 {settings}")

    def begins(iteration: int) -> None:
        weights, biases = solver.net.params["pre"]
        weights.data.fill(0)
        biases.data.fill(1 if iteration < 2 else 0)

    solver.listener.begins = begins
    solver.step(2)
    text = stopped(solver)
    assert text.startswith("iteration 2: a gradient is not finite; the first that is not finite is in layer")
    assert 'layer "root" (Power), gradient of "pre"' in text and "a power of 0" in text
    assert all(np.isfinite(array).all() for array in values(solver))
    assert np.isfinite(solver.smoothed_loss) and len(solver._losses) == 2


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in ("SGD", "Nesterov")])
def test_an_update_alone(rule: str, tmp_path: Path) -> None:
    # A weight whose gradient is 0 is moved by 0/0.
    solver = make(tmp_path, INPUTS + scores("x"), f"base_lr: 0.1 type: '{rule}' delta: 0")
    solver.net.blobs["x"].data[:, 1] = 0
    before = [array.copy() for array in values(solver)]
    text = stopped(solver)
    assert text.startswith(
        "iteration 0: the update, at a learning rate of 0.1, would leave 2 of 6 values of parameter ip/0"
    )
    assert "delta is 0" in text
    for array, old in zip(values(solver), before, strict=True):
        np.testing.assert_array_equal(array, old)


@pytest.mark.parametrize("rule", RULES)
def test_an_update_by_far_too_large(rule: str, tmp_path: Path) -> None:
    solver = make(tmp_path, INPUTS + scores("x"), f"base_lr: 1e20 type: '{rule}'")
    solver.rule.history[0][0, 0] = 3e38
    solver.net.params["ip"][0].data[0, 0] = 3e38
    solver.net.diff[...] = 3e38
    solver.rate = 1e20
    before = [array.copy() for array in values(solver)]
    with pytest.raises(DivergenceError, match="would leave"):
        solver._watch.begin(0, solver._losses)
        solver.apply_update()
    for array, old in zip(values(solver), before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert (solver.net.diff == np.float32(3e38)).all()


def drawn(folder: Path, reaction: str, settings: str = "", at: int = 4) -> Solver:
    """Return a solver whose parameters are far too large from an iteration on."""
    solver = make(folder, DRAWN + scores("conv"), f"base_lr: 0.1 momentum: 0.9 {settings}", non_finite=reaction)
    solver.listener.begins = lambda i: solver.net.params["scale"][0].data.fill(3e38) if i == at else None
    return solver


@pytest.mark.parametrize("settings", ["", "iter_size: 3"])
def test_what_is_saved_is_how_the_iteration_began(settings: str, tmp_path: Path) -> None:
    solver = drawn(tmp_path, "stop", settings)
    solver.step(4)
    before = {key: array.copy() for key, array in solver.net.state().items()}
    statistics = [blob.data.copy() for blob in solver.net.params["bn"]]
    text = stopped(solver)
    assert 'layer "scale" (Scale), blob "conv": ' in text and "scale/0 (3e+38 to 3e+38" in text
    again = drawn(tmp_path, "stop", settings)
    again.restore(tmp_path / "s_iter_4.solverstate")
    assert again.iteration == 4
    for one in (solver, again):
        for key, array in one.net.state().items():
            np.testing.assert_array_equal(array, before[key])
        for blob, old in zip(one.net.params["bn"], statistics, strict=True):
            np.testing.assert_array_equal(blob.data, old)
    assert stopped(again) == text
    again.restore(tmp_path / "s_iter_4.solverstate")
    again.net.params["scale"][0].data.fill(1)
    again.listener.begins = lambda iteration: None
    again.step(3)
    assert again.iteration == 7


@pytest.mark.parametrize("settings", ["", "iter_size: 3"])
def test_a_run_that_is_warned_of_goes_on_as_one_that_is_not(settings: str, tmp_path: Path) -> None:
    warned, ignored = (drawn(tmp_path, reaction, settings) for reaction in ("warn", "ignore"))
    for solver in (warned, ignored):
        solver.step(8)
        assert solver.iteration == 8
    for one, other in zip(values(warned), values(ignored), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(warned.listener.said) == 1 and "it goes on" in warned.listener.said[0]
    assert not ignored.listener.said and not list(tmp_path.iterdir())


def test_looking_changes_nothing(tmp_path: Path) -> None:
    looked, left = (drawn(tmp_path, "stop", at=99) for _ in range(2))
    for solver in (looked, left):
        solver.step(2)
    # Between two iterations the batch is that of the last one.
    explain(looked.net, gradients=True)
    for solver in (looked, left):
        solver.step(3)
    for one, other in zip(values(looked), values(left), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_does_not_reach_the_loss_harms_nothing(tmp_path: Path) -> None:
    aside = 'layer { name: "log" type: "Log" bottom: "x" top: "log" }'
    solver = make(tmp_path, INPUTS + aside + scores("x"))
    solver.step(3)
    assert not np.isfinite(solver.net.blobs["log"].data).all() and not solver.listener.said
    # Nor is it taken for the cause of something else.
    solver.net.params["ip"][1].data[0] = np.inf
    assert "parameter ip/1" in stopped(solver)


@pytest.mark.parametrize(
    ("layer", "cause"),
    [
        ('type: "Log"', "logarithm of 0"),
        ('type: "Exp" exp_param { scale: 1000 }', "an exponential"),
        ('type: "Power" power_param { power: -1.5 }', "power of 0"),
        ('type: "Scale" scale_param { filler { type: "constant" value: 3e38 } }', "have run away"),
    ],
)
def test_causes(layer: str, cause: str, tmp_path: Path) -> None:
    text = stopped(make(tmp_path, INPUTS + f'layer {{ name: "l" bottom: "x" top: "y" {layer} }}' + scores("y")))
    assert 'layer "l"' in text and cause in text


def test_large_is_not_infinite(tmp_path: Path) -> None:
    """What is so large that the update is made on trial is updated all the same."""
    net = INPUTS + scores("x")
    solvers = [make(tmp_path, net, "base_lr: 1e-31", non_finite=reaction) for reaction in ("stop", "ignore")]
    for solver in solvers:
        solver.net.blobs["x"].data[...] *= 1e15
        solver.net.params["ip"][0].data[...] *= 1e-15
        solver.step(5)
    assert all(np.abs(solver.net.diff).max() > 0 for solver in solvers)
    for one, other in zip(*map(values, solvers), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_a_place_for_it_the_state_is_not_saved() -> None:
    text = f'net_param {{ name: "n" {INPUTS} {ROOT} {scores("pre")} }} lr_policy: "fixed" base_lr: 1'
    solver = Solver(parse_text(text, messages.SolverParameter, "s.prototxt"), Said())
    assert "is not saved: s.prototxt: no snapshot_prefix says where" in stopped(solver)


def test_a_loss_that_stands_where_the_net_gives_no_probability(tmp_path: Path) -> None:
    solver = make(tmp_path, INPUTS + scores("x"), "base_lr: 0")
    solver.net.params["ip"][1].data[:] = [1e4, -1e4]
    solver.net.blobs["t"].data[:] = 1
    solver.step(5)
    (said,) = solver.listener.said
    assert said.startswith("iteration 1: the loss stands at 87.3365, -log of the smallest float")


def test_a_loss_that_stands_elsewhere_is_not_explained(tmp_path: Path) -> None:
    solver = make(tmp_path, INPUTS + scores("x"), "base_lr: 0")
    solver.step(5)
    assert not solver.listener.said


def test_a_test_net_is_told_of_once(tmp_path: Path) -> None:
    data = DRAWN[: DRAWN.index('layer { name: "conv"')]
    log = 'layer { name: "log" type: "Log" bottom: "x" top: "x" include { phase: TEST } }'
    solver = make(tmp_path, data + log + scores("x"), "base_lr: 0.1 test_iter: 2 test_interval: 1")
    solver.step(2)
    (said,) = solver.listener.said
    assert said.startswith("iteration 0: test net #0: the loss is nan; the first that is not finite is in layer")
    assert solver.iteration == 2


def test_a_net_alone() -> None:
    net = Net(net_from_text(INPUTS + ROOT + scores("pre"), "n"))
    net.blobs["x"].data[...] = -1
    net.params["pre"][0].data[...] = 1
    assert np.isnan(net.forward())
    assert 'layer "root" (Power), blob "pre": 8 of 8 values NaN; it read "pre" (-3 to -3' in explain(net)


def test_there_are_three_reactions(tmp_path: Path) -> None:
    with pytest.raises(SolverError, match=re.escape('non_finite is "halt", expected one of stop, warn, ignore')):
        make(tmp_path, INPUTS + scores("x"), non_finite="halt")


def test_an_update_alone_leaves_the_place_in_the_data(tmp_path: Path) -> None:
    solver = drawn(tmp_path, "stop", at=99)
    solver.step(2)
    solver.net.forward()
    solver.net.diff[...] = np.nan
    passes = solver.net.state()["data/passes"].copy()
    with pytest.raises(DivergenceError, match="a gradient is not finite; gradient of parameter conv/0: 72 of 72"):
        solver.apply_update()
    np.testing.assert_array_equal(solver.net.state()["data/passes"], passes)


def test_huge_values_that_batchnorm_reads_are_not_laid_on_its_statistics(tmp_path: Path) -> None:
    solver = drawn(tmp_path, "stop", at=99)
    solver.listener.begins = lambda iteration: solver.net.params["conv"][0].data.fill(1e30)
    text = stopped(solver)
    assert text.startswith(
        "iteration 0: parameter bn/1 is not finite, though the loss and the gradients are; it is 4 of 4"
    )
    assert "have run away" in text and "s_iter_0.solverstate" in text
    assert all(np.isfinite(blob.data).all() for blob in solver.net.params["bn"])


def test_the_pass_behind_the_last_iteration_is_looked_at_too(tmp_path: Path) -> None:
    solver = make(tmp_path, INPUTS + scores("x"), "base_lr: 0.1 max_iter: 2 display: 2")
    solver.listener.on_snapshot = lambda path, kind: solver.net.blobs["x"].data.fill(np.nan)
    with pytest.raises(DivergenceError, match="iteration 2: the loss is nan"):
        solver.solve()


def test_debug_info_tells_of_tests_and_of_blobs_that_are_written_in_place(tmp_path: Path) -> None:
    solver = make(
        tmp_path, DRAWN + scores("conv"), "base_lr: 0.1 display: 2 debug_info: true test_iter: 2 test_interval: 2"
    )
    told: list[list[str]] = []
    solver.listener.on_debug = lambda lines: told.append([line.text.strip() for line in lines])
    solver.step(2)
    test, again, trained, updated = told
    assert [line.partition(" data: ")[0] for line in test] == [line.partition(" data: ")[0] for line in again]
    tops = [line.split()[2] for line in test if "top blob conv " in line]
    assert tops == ["conv,", "bn,", "scale,", "relu,", "drop,"]
    # In TEST a dropout does nothing, and in place each layer's values are its own.
    sizes = [float(line.rpartition(" ")[2]) for line in test if "top blob conv " in line]
    assert sizes[0] != sizes[1] and sizes[2] > sizes[3] == sizes[4]
    backward = [line for line in trained if line.startswith("[Backward] Layer")]
    order = [line.split()[2].rstrip(",") for line in backward if "bottom blob" in line]
    assert order == ["loss", "ip", "drop", "relu", "scale", "bn"]
    assert len([line for line in backward if "param blob" in line]) == 6
    assert [line.partition(" data")[0] for line in updated] == [
        f"[Update] Layer {layer}, param {j}"
        for layer, blobs in (("conv", 2), ("bn", 3), ("scale", 2), ("ip", 2))
        for j in range(blobs)
    ]
    plain = make(tmp_path, DRAWN + scores("conv"), "base_lr: 0.1")
    plain.step(2)
    np.testing.assert_allclose(plain.net.data, solver.net.data, rtol=1e-4, atol=1e-6)
