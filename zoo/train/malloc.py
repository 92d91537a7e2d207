"""Memory between the steps of a training run on CPUs.

A step frees hundreds of megabytes, in tensors that the next step asks for again. glibc hands large pieces back to the
system at once, and the system clears every page before it gives it out anew: a fifth to a third of a step's time.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # names and numbers of malloc.h
NEVER = -1


def set_malloc_options(environment: Mapping[str, str] = os.environ) -> bool:
    """Let this process reuse what it freed, from here on; returns whether that is so.

    Does nothing where the C library is another than glibc, or where malloc has been tuned by MALLOC_... or
    GLIBC_TUNABLES in the environment: who did so knows better.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in environment):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    return bool(mallopt and mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
