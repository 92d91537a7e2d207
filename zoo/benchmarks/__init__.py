"""The benchmark suite: the same tasks for every encoder, with confidence intervals. See `zoo bench --help`."""
