"""Rates for larger batches."""

import pytest

from caffelite.errors import SolverError
from caffelite.schema.messages import SolverParameter
from caffelite.solvers.settings import Settings, load_solver


def settings(**changed: object) -> Settings:
    given = {"net": "n.prototxt", "base_lr": 0.5, "lr_policy": "fixed", **changed}
    return Settings(load_solver(SolverParameter(**given)))


def test_it_grows_on_a_line():
    given = settings()
    given.scale_rate(4, 10)
    assert [given.rate(i, 0)[0] for i in (0, 5, 10, 99)] == [0.5, 1.25, 2.0, 2.0]


@pytest.mark.parametrize(
    "changed, said",
    [
        ({"type": "Adam"}, "the rate of Adam, whose steps do not grow"),
        ({"lr_policy": "sigmoid", "gamma": 0.1, "stepsize": 9}, "warms up by itself"),
    ],
)
def test_where_it_makes_no_sense(changed, said):
    with pytest.raises(SolverError, match=said):
        settings(**changed).scale_rate(4, 10)
