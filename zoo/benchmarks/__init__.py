"""The benchmark suite: one exam for every encoder, with honest error bars. `python -m zoo.benchmarks --help`."""
