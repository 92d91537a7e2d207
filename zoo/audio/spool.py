"""Long waveforms on disk: written once into a file without a name, read back slice by slice.

Legend: S samples.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from zoo.errors import AudioError

BYTES = 4  # float32


class SpooledWave:
    """A mono float32 waveform in an anonymous temporary file; `wave[a:b]` reads that slice and nothing else.

    The file has no name from the start, so nothing is left behind even by a killed process; its space is freed when the
    object is collected. Reading is stateless (os.pread), hence safe from any number of threads and from forked workers.
    It lies in the system's temporary folder: set TMPDIR where that is small or kept in memory. An hour of 16 kHz takes
    230 MB.

    Raises AudioError where the temporary folder is full or not writable.
    """

    def __init__(self, blocks: Iterable[Tensor], sample_rate: int) -> None:
        """blocks: (S_k,) float32 on the CPU, consecutive; they are written as they come."""
        self.sample_rate = sample_rate
        folder = tempfile.gettempdir()
        try:
            self._file, name = tempfile.mkstemp(prefix="zoo-", dir=folder)
            self.close = weakref.finalize(self, os.close, self._file)
            Path(name).unlink()
        except OSError as error:
            raise AudioError(folder, f"no temporary file can be made here ({error.strerror}); set TMPDIR") from error
        self._samples = 0
        for block in blocks:
            self._append(block, folder)

    def _append(self, block: Tensor, folder: str) -> None:
        data = block.contiguous().numpy().view("u1").data
        try:
            while data:  # one write ends at 2 GiB
                data = data[os.write(self._file, data) :]
        except OSError as error:
            raise AudioError(folder, f"cannot hold a long recording ({error.strerror}); set TMPDIR") from error
        self._samples += len(block)

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: slice) -> Tensor:
        """Samples [a:b] as a new (b - a,) float32 tensor; negative and missing bounds as in a list, no step."""
        if not isinstance(index, slice) or index.step not in (None, 1):
            raise TypeError(f"a SpooledWave gives slices [a:b], not [{index!r}]")
        if not self.close.alive:
            raise ValueError("this SpooledWave is closed")  # its descriptor may be another file's by now
        start, stop, _ = index.indices(self._samples)
        data, wanted = bytearray(), max(0, stop - start) * BYTES
        while len(data) < wanted:  # one pread ends at 2 GiB
            data += os.pread(self._file, wanted - len(data), start * BYTES + len(data))
        return torch.frombuffer(data, dtype=torch.float32) if data else torch.empty(0)  # (S,)

    def __repr__(self) -> str:
        return f"SpooledWave({self._samples} samples at {self.sample_rate} Hz)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SpooledWave lives in a file of this process and cannot be pickled; send the path instead")
