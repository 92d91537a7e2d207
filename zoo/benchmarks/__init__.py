"""The benchmark suite: the same tasks for every encoder, with confidence intervals. See `zoo bench --help`.

`register_metric` and `register_task_kind` add metrics and kinds of tasks from outside of this package.
"""

from zoo.benchmarks.kinds import register_task_kind
from zoo.benchmarks.metrics import register_metric

__all__ = ["register_metric", "register_task_kind"]
