"""The table of update rules."""

import subprocess
import sys

import pytest

import caffelite
from caffelite.kernels import update
from caffelite.solvers.rules import RULES
from caffelite.words import SOLVER_TYPES


def test_the_names_are_those_of_words_kernels_and_classes():
    assert tuple(RULES) == tuple(update._RULES) == SOLVER_TYPES
    for name in SOLVER_TYPES:
        assert getattr(caffelite, f"{name}Solver").__name__ == f"{name}Solver"


@pytest.mark.parametrize("name", RULES)
def test_each_tells_formula_source_and_pitfalls(name):
    text = " ".join(RULES[name].__doc__.split())
    assert all(part in text for part in ("w -= ", "Keeps", "What to watch for: ", "Source: "))
    assert "whatever ``type`` the file has" in getattr(caffelite, f"{name}Solver").__doc__


def test_the_package_is_light():
    code = "import sys, caffelite; sys.exit(bool({'numba', 'numpy', 'google.protobuf'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
