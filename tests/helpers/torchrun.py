"""Run a script in two processes with `torchrun`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dying import environment

COMMAND = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def torchrun(script: Path, *arguments: Path) -> None:
    """Run the script on the CPU with one thread in each process. A failure shows its stderr."""
    result = subprocess.run(
        [*COMMAND, str(script), *map(str, arguments)],
        env=environment(script.parent, 1) | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stderr[-3000:]
