"""Numbers of workers, given or from a scheduler."""

from __future__ import annotations

import pytest

from zoo.errors import ConfigError
from zoo.jobs.workers import Worker, parse_worker


def test_numbers_that_are_given() -> None:
    assert parse_worker("0/1") == Worker() and parse_worker("3/4") == Worker(3, 4)
    assert [shard for shard in range(7) if Worker(1, 3).owns(shard)] == [1, 4]


@pytest.mark.parametrize("text", ["4/4", "-1/4", "1", "1/", "a/b", "1/0", "", "one"])
def test_other_texts_are_errors(text: str) -> None:
    with pytest.raises(ConfigError, match="give I/N"):
        parse_worker(text)


@pytest.mark.parametrize(
    ("environment", "worker"),
    [
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "4"}, Worker(2, 4)),
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "5", "SLURM_ARRAY_TASK_MIN": "1"}, Worker(4, 5)),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "8"}, Worker(0, 8)),
        (
            {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_COUNT": "3", "SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
            Worker(3, 6),
        ),
    ],
)
def test_numbers_from_a_scheduler(environment: dict[str, str], worker: Worker) -> None:
    assert parse_worker("auto", environment) == worker


def test_without_a_scheduler_auto_is_an_error() -> None:
    for environment in ({}, {"SLURM_PROCID": "1"}, {"JOB_COMPLETION_INDEX": "x", "JOB_COMPLETIONS": "3"}):
        with pytest.raises(ConfigError, match=r"no scheduler set its variables .*JOB_COMPLETION_INDEX"):
            parse_worker("auto", environment)
