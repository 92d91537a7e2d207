"""A script in two processes, as `torchrun` starts them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dying import environment

COMMAND = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def torchrun(script: Path, *arguments: Path) -> None:
    """Run it to the end, on the CPU, one thread each; fails with what it printed."""
    done = subprocess.run(
        [*COMMAND, str(script), *map(str, arguments)],
        env=environment(script.parent, 1) | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
