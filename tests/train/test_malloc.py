import subprocess
import sys

import pytest

from zoo.train.malloc import set_malloc_options

SCRIPT = """
import resource, torch
from zoo.train.malloc import set_malloc_options
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        torch.ones(1 << 24)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults()
active = set_malloc_options()
faults()  # the first allocation
print(int(active), before, faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_reused() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env={})
    active, before, after = map(int, result.stdout.split())
    assert not active or after < before / 50


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_settings_of_the_user_stay(name: str) -> None:
    assert not set_malloc_options({name: "1"})
