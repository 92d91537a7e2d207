"""Long waveforms on disk: written once to an unnamed temporary file, read back by slices.

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
    """A mono float32 waveform in an unnamed temporary file; `wave[a:b]` reads only that slice.

    The file is unlinked at once, so even a killed process leaves no file behind. Its space is freed when the object is
    garbage collected. Reads have no state (os.pread), so they are safe in threads and forked workers. The file is in
    the temporary folder of the system: set TMPDIR if that folder is small or in memory. An hour at 16 kHz takes 230 MB.

    Raises AudioError if the temporary folder is full or not writable.
    """

    def __init__(self, blocks: Iterable[Tensor], sample_rate: int) -> None:
        """blocks: (S_k,) float32 on the CPU, consecutive; each is written as soon as it is available."""
        self.sample_rate = sample_rate
        folder = tempfile.gettempdir()
        try:
            self._file, name = tempfile.mkstemp(prefix="zoo-", dir=folder)
            self.close = weakref.finalize(self, os.close, self._file)
            Path(name).unlink()
        except OSError as error:
            raise AudioError(
                folder, f"cannot create a temporary file in this folder ({error.strerror}); set TMPDIR"
            ) from error
        self._samples = 0
        for block in blocks:
            self._append(block, folder)

    def _append(self, block: Tensor, folder: str) -> None:
        data = block.contiguous().numpy().view("u1").data
        try:
            while data:  # one write is limited to 2 GiB
                data = data[os.write(self._file, data) :]
        except OSError as error:
            reason = f"cannot write a long recording to this folder ({error.strerror}); set TMPDIR"
            raise AudioError(folder, reason) from error
        self._samples += len(block)

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, index: slice) -> Tensor:
        """Samples [a:b] as a new (b - a,) float32 tensor; negative and missing bounds as in a list, without a step."""
        if not isinstance(index, slice) or index.step not in (None, 1):
            raise TypeError(f"a SpooledWave supports slices [a:b], not [{index!r}]")
        if not self.close.alive:
            raise ValueError("this SpooledWave is closed")  # its descriptor may belong to another file now
        start, stop, _ = index.indices(self._samples)
        data, size = bytearray(), max(0, stop - start) * BYTES
        while len(data) < size:  # one pread is limited to 2 GiB
            data += os.pread(self._file, size - len(data), start * BYTES + len(data))
        return torch.frombuffer(data, dtype=torch.float32) if data else torch.empty(0, dtype=torch.float32)  # (S,)

    def __repr__(self) -> str:
        return f"SpooledWave({self._samples} samples at {self.sample_rate} Hz)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a SpooledWave uses an open file of this process and cannot be pickled; send the path instead")
