"""Several processes at one job: worker I of N begins with its share of the shards, then helps the others.

N is a hint for the order only. Workers may come, go and die, and their number may change between runs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from zoo.errors import ConfigError

# Where schedulers tell a process its number and the number of processes. Innermost first: the tasks of a SLURM step,
# the jobs of a SLURM array, the pods of an indexed Kubernetes job (which does not tell the number itself).
SOURCES = (
    ("SLURM_PROCID", "SLURM_NTASKS", None),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", None),
)


@dataclass(frozen=True)
class Worker:
    """One of `count` processes; number from 0."""

    number: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def owns(self, shard: int) -> bool:
        """Whether a shard is in this worker's share."""
        return shard % self.count == self.number


ALONE = Worker()


def parse_worker(text: str | None, environment: Mapping[str, str] = os.environ) -> Worker:
    """The worker of "I/N", I from 0 to N - 1, or of "auto", which asks the variables of SLURM and Kubernetes.

    None: this process is alone.

    Raises ConfigError if the text has another form, or if no scheduler set such variables.
    """
    if text is None:
        return ALONE
    if text == "auto":
        return _from_scheduler(environment)
    number, _, count = text.partition("/")
    if number.isdecimal() and count.isdecimal() and int(number) < int(count):
        return Worker(int(number), int(count))
    raise ConfigError(f'worker {text!r}: give I/N, with I from 0 to N - 1, such as 0/4, or "auto"')


def _from_scheduler(environment: Mapping[str, str]) -> Worker:
    found = [_read(environment, *names) for names in SOURCES]
    workers = [worker for worker in found if worker is not None]
    if not workers:
        names = "; ".join(f"{number} and {count}" for number, count, _ in SOURCES)
        raise ConfigError(f"worker auto: no scheduler set its variables ({names}); give I/N, such as 0/4")
    number, count = 0, 1
    for worker in reversed(workers):  # an array of jobs with several tasks each: all are different workers
        number, count = number * worker.count + worker.number, count * worker.count
    return Worker(number, count)


def _read(environment: Mapping[str, str], number: str, count: str, first: str | None) -> Worker | None:
    """The worker in these variables. first: the variable with the number of the first worker, which may not be 0."""
    try:
        workers = int(environment[count])
        return Worker((int(environment[number]) - int(environment.get(first or "", "0"))) % workers, workers)
    except (KeyError, ValueError, ZeroDivisionError):
        return None
