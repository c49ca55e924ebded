"""Learning rate policies against Caffe's formulas."""

import math

import numpy as np
import pytest

from caffelite.errors import SolverError
from caffelite.schema import messages
from caffelite.schema.parser import parse_text
from caffelite.solvers.policies import POLICIES, check_policy, learning_rate


def _document(text):
    return parse_text(text, messages.SolverParameter, "s.prototxt")


FORMULAS = {
    "fixed": ("", lambda t: 0.5),
    "step": ("gamma: 0.5 stepsize: 3", lambda t: 0.5 * 0.5 ** (t // 3)),
    "exp": ("gamma: 0.9", lambda t: 0.5 * 0.9**t),
    "inv": ("gamma: 0.1 power: 0.75", lambda t: 0.5 * (1 + 0.1 * t) ** -0.75),
    "multistep": ("gamma: 0.2 stepvalue: [3, 7]", lambda t: 0.5 * 0.2 ** ((t >= 3) + (t >= 7))),
    "poly": ("power: 1.5 max_iter: 12", lambda t: 0.5 * (1 - t / 12) ** 1.5),
    "sigmoid": ("gamma: -0.5 stepsize: 5", lambda t: 0.5 / (1 + math.exp(0.5 * (t - 5)))),
}


@pytest.mark.parametrize("name", POLICIES)
def test_rates(name):
    settings, formula = FORMULAS[name]
    solver = _document(f'base_lr: 0.5 lr_policy: "{name}" {settings}').message
    step = 0
    for t in range(12):
        rate, step = learning_rate(solver, t, step)
        assert rate.dtype == np.float32
        assert rate == pytest.approx(formula(t), rel=1e-6), t


def test_multistep_takes_one_step_an_iteration_as_caffe_does():
    solver = _document('base_lr: 1 lr_policy: "multistep" gamma: 0.5 stepvalue: [2, 2]').message
    rates, step = [], 0
    for t in range(5):
        rate, step = learning_rate(solver, t, step)
        rates.append(float(rate))
    assert rates == [1, 1, 0.5, 0.25, 0.25]


def test_poly_stays_at_zero_after_its_end():
    solver = _document('base_lr: 1 lr_policy: "poly" power: 0.5 max_iter: 10').message
    assert learning_rate(solver, 12, 0)[0] == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            'base_lr: 1\nlr_policy: "stepp"',
            's.prototxt:2:1: there is no lr_policy "stepp"; did you mean "step"?',
        ),
        ('base_lr: 1 lr_policy: "step" stepsize: 1', 'lr_policy "step" needs gamma'),
        ('base_lr: 1 lr_policy: "step" gamma: 1', 'lr_policy "step" needs stepsize'),
        ('base_lr: 1 lr_policy: "multistep" gamma: 1', "needs stepvalue"),
        ('base_lr: 1 lr_policy: "poly" max_iter: 3', "needs power"),
        (
            'base_lr: 1 lr_policy: "step" gamma: 1\nstepsize: 0',
            "s.prototxt:2:1: stepsize is 0, expected more than 0",
        ),
        ('base_lr: 1 lr_policy: "exp" gamma: -2', "gamma is -2"),
        ("base_lr: 1", "lr_policy is not given; it can be"),
        ('lr_policy: "fixed"', "base_lr, the learning rate at the start, is not given"),
    ],
)
def test_errors(text, message):
    with pytest.raises(SolverError) as error:
        check_policy(_document(text))
    assert message in str(error.value)
