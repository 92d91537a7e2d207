"""Worker threads with a fixed number of cores each."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

import torch


def core_pool(workers: int, name: str, cores: int = 1) -> ThreadPoolExecutor:
    """A pool of `workers` threads. The tensor operations of each thread use `cores` cores.

    PyTorch keeps its thread count per thread. But setting it also changes the initial count of threads that start
    later. So all workers start here, and then the count of the calling thread is restored.
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
    torch.get_num_threads()  # otherwise the thread's first tensor operation would reset the count set below
    torch.set_num_threads(cores)
