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
kept = set_malloc_options()
faults()  # the memory comes in
print(int(kept), before, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_freed_memory_is_used_again_without_the_system() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env={})
    kept, before, after = map(int, found.stdout.split())
    assert not kept or after < before / 50


@pytest.mark.parametrize("name", ["MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_settings_of_the_user_stay(name: str) -> None:
    assert not set_malloc_options({name: "1"})
