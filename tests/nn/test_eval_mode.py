"""Models stay in eval mode until the last thread leaves its `eval_mode` block."""

from __future__ import annotations

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from zoo.nn.eval_mode import eval_mode


def model_of_parts() -> nn.Sequential:
    """In training mode, except for its first part."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[0].eval()
    return model


def flags(model: nn.Module) -> list[bool]:
    return [module.training for module in model.modules()]


@torch.no_grad()  # restores gradients at the end: in one thread, blocks that end out of order leave them off
def test_blocks_may_end_in_any_order() -> None:
    model = model_of_parts()
    before = flags(model)
    first, second, third = eval_mode(model[1]), eval_mode(model), eval_mode(model)
    for block in (first, second, third):
        block.__enter__()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert not any(flags(twin))
    for block in (first, second):
        block.__exit__(None, None, None)
        assert not any(flags(model))
    third.__exit__(None, None, None)
    assert flags(model) == before


def test_threads_change_no_statistics() -> None:
    model, x = model_of_parts(), torch.randn(8, 3)
    with eval_mode(model):
        expected = model(x)
    before, state = flags(model), copy.deepcopy(model.state_dict())
    inside, left = threading.Barrier(2, timeout=60), threading.Event()

    def forward(last: bool) -> torch.Tensor:
        with eval_mode(model):
            inside.wait()
            if last:
                left.wait(timeout=60)
                return model(x)
        left.set()
        return expected

    with ThreadPoolExecutor(2) as threads:
        assert all(torch.equal(y, expected) for y in threads.map(forward, (False, True)))
    assert flags(model) == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
