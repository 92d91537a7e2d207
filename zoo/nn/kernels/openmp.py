"""How OpenMP's threads wait for each other. It must be imported before torch: the setting is read when torch loads.

By default they spin for milliseconds after every operation. As soon as anything else wants a core (threads that decode
audio, a second process) that costs more than it saves: pre-training on two cores runs 2.3 times as fast without.
Set GOMP_SPINCOUNT or OMP_WAIT_POLICY yourself for something else.
"""

from __future__ import annotations

import os

SPINS = "1000"

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
