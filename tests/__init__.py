"""Tests; each process computes with one thread.

pytest-xdist runs a process on each core, and threads of several processes that wait for each other
cost more than they save: one thread takes half of the processor time of `fit_logistic`. With one
thread, sums have one order, so the same fit gives the same bits.
"""

from __future__ import annotations

import os

# The libraries read these when they are loaded, and this module is imported before them.
for _name in (
    *("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"),
    *("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"),
):
    os.environ.setdefault(_name, "1")
