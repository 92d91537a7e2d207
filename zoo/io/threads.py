"""Worker threads that share out the cores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import torch


def core_pool(workers: int, name: str, cores: int = 1) -> ThreadPoolExecutor:
    """Threads whose own tensor operations stay on so many cores each.

    PyTorch's thread count belongs to the calling thread, but setting it also sets what later threads begin with; hence
    all workers are started here, and the count is set again once they have theirs.
    """
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, name, initializer=partial(_use, cores))
    started = Barrier(workers + 1)
    for _ in range(workers):
        pool.submit(started.wait)
    started.wait()
    torch.set_num_threads(threads)
    return pool


def _use(cores: int) -> None:
    torch.get_num_threads()  # a thread's first tensor operation would fetch the common count, and undo the next line
    torch.set_num_threads(cores)
