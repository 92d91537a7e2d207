"""What OpenMP and oneDNN read from the environment. It must be imported before torch, which loads them.

OpenMP's threads spin for milliseconds after every operation, by default. As soon as anything else wants a core (threads
that decode audio, a second process) that costs more than it saves: pre-training on two cores runs 2.3 times as fast
without. Set GOMP_SPINCOUNT or OMP_WAIT_POLICY yourself for something else.

oneDNN compiles its kernels anew for every shape and keeps 1024 of them. Training meets more shapes than that.
"""

from __future__ import annotations

import os

SPINS = "1000"
KERNELS = "8192"

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KERNELS)
