"""`python -m zoo.benchmarks` is `zoo bench`."""

import runpy
import sys

sys.argv[0] = "zoo"
sys.argv.insert(1, "bench")
runpy.run_module("zoo", run_name="__main__")
