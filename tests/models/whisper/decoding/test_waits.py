"""A decoding step waits for a GPU once, whatever the number of windows and rows; without a GPU (pretend_gpu.py)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from pretend_gpu import META, PretendGPU, on_pretend_gpu
from small import noise
from small_whisper import small_whisper
from torch import Tensor

from zoo.models.whisper.decoder import AudioStates
from zoo.models.whisper.decoding import Decoded, DecodingOptions, DecodingRequest, decode
from zoo.models.whisper.decoding.rows import DecoderRows
from zoo.nn.transfer import to_cpu_together

AROUND = 7  # uploads and reads of a batch beside its steps: prompts, rules, state, silence
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {},
    "no timestamps": {"timestamps": False},
    "beams": {"beam_size": 3},
    "patient beams": {"beam_size": 2, "patience": 2.0},
    "samples": {"temperatures": (0.5,), "best_of": 2},
}
REQUESTS = [
    DecodingRequest(language="en", start=0, prompt=(1, 2, 3) * 5),  # its context is full before that of the others
    DecodingRequest(language="en", start=1),
    DecodingRequest(language="en", start=2, prefix=(4, 7)),
    DecodingRequest(language="en", start=3, prompt=(9,)),
]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("padding", ["30s", "none"])
def test_a_step_waits_once(search: str, padding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_whisper()
    states = model.encode_windows([noise(2.0 + 3 * i, i) for i in range(4)], padding=padding)
    options = DecodingOptions(**{"temperatures": (0.0,), **SEARCHES[search]})
    expected = decode(model, states, REQUESTS, options)
    totals: list[int] = []
    dropped: list[int] = []
    step, select = DecoderRows.step, DecoderRows.select

    def counted_step(rows: DecoderRows, tokens: Tensor) -> Tensor:
        totals.append(gpu.total)
        return step(rows, tokens)

    def counted_select(rows: DecoderRows, chosen: Tensor, windows: Tensor | None = None) -> None:
        dropped.append(0 if windows is None else len(rows.cross) - len(windows))
        select(rows, chosen, windows)

    monkeypatch.setattr(DecoderRows, "step", counted_step)
    monkeypatch.setattr(DecoderRows, "select", counted_select)
    moved = on_pretend_gpu(model)
    with PretendGPU() as gpu:
        on_gpu = AudioStates(states.x.to(META), states.lengths)
        gpu.waits.clear()
        found = decode(moved, on_gpu, REQUESTS, options)
    assert len(totals) > 10 and sum(dropped) > 0
    assert [after - before for before, after in pairwise(totals)] == [1] * (len(totals) - 1)
    assert gpu.total <= len(totals) + 1 + AROUND, gpu.waits
    assert _content(found) == _content(expected)


def _content(decoded: list[Decoded]) -> list[tuple[list[int], float]]:
    return [(one.tokens, round(one.log_probability, 4)) for one in decoded]


def test_the_stand_in_counts_what_waits_for_a_gpu() -> None:
    with PretendGPU() as gpu:
        x = torch.arange(6.0).to(META, non_blocking=True)
        assert x.device == META and gpu.total == 0
        y = (x * 2).cumsum(0)
        y[2:4] = 1.0
        assert gpu.total == 0
        waiting = [
            lambda: float(y[0]),
            lambda: bool((y > 3).any()),
            lambda: y.tolist(),
            lambda: y.cpu(),
            lambda: y.nonzero(),
            lambda: y[y > 3],
            lambda: y[torch.tensor([0, 1])],
            lambda: torch.tensor([1.0], device=META),
            lambda: torch.ones(3).to(META),
        ]
        for count, wait in enumerate(waiting, start=1):
            wait()
            assert gpu.total == count, gpu.waits
        assert y.tolist() == [0.0, 2.0, 1.0, 1.0, 20.0, 30.0]
        with pytest.raises(AssertionError, match="mixes tensors"):
            y + torch.ones(6)


def test_integers_and_floats_are_read_together_exactly() -> None:
    integers, floats = torch.tensor([[0, 51_864], [2**53, 7]]), torch.tensor([[1 / 3, -1e30], [float("-inf"), 1e-40]])
    with PretendGPU() as gpu:
        on_gpu = [x.to(META, non_blocking=True) for x in (integers, floats)]
        read = to_cpu_together(*on_gpu)
    assert gpu.total == 1
    for found, expected in zip(read, (integers, floats), strict=True):
        assert found.dtype == expected.dtype and torch.equal(found, expected)
