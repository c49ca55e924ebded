"""Settings of the test run."""

import os

# Test processes run side by side: a thread that waits by spinning would take the core of another one.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
