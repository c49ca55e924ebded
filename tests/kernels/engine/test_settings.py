import os
import subprocess
import sys

import pytest

from caffelite.kernels.engine import settings


def test_settings() -> None:
    assert settings.vector_width() in (0, 4, 8, 16)
    assert settings.threads() >= 1


@pytest.mark.skipif(
    settings.THREADING_LAYER != "omp" or not sys.platform.startswith("linux"), reason="another threading layer"
)
@pytest.mark.parametrize(
    "variables, spins",
    [
        ({}, str(settings.SPINS)),
        ({"NUMBA_THREADING_LAYER": "omp"}, str(settings.SPINS)),
        ({"GOMP_SPINCOUNT": "77"}, "77"),
        ({"OMP_WAIT_POLICY": "active"}, "30000000000"),
        ({"OMP_WAIT_POLICY": "passive"}, "0"),
    ],
)
def test_threads_that_wait_go_to_sleep_unless_the_user_says_otherwise(variables: dict[str, str], spins: str) -> None:
    code = "import os; from caffelite.kernels.engine import settings; print(os.environ.get('GOMP_SPINCOUNT'))"
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "NUMBA_THREADING_LAYER")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"OMP_DISPLAY_ENV": "verbose", "PYTHONPATH": os.pathsep.join(sys.path)} | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True)
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr
    assert done.stdout.strip() == str(variables.get("GOMP_SPINCOUNT"))  # programs started from here have their own
