"""Compiled functions of arrays; they know nothing of layers, blobs or nets."""

import os

from caffelite.kernels.engine.thread_count import let_numba_start

let_numba_start(os.environ)
