"""Our bfloat16 attention against PyTorch's attention in float32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.nn.attention import SelfAttention
from zoo.nn.kernels import attention
from zoo.nn.kernels.attention import attend, attend_bfloat16
from zoo.nn.masking import lengths_to_mask
from zoo.nn.transformer import Transformer


@pytest.mark.parametrize("scores", [1 << 22, 100])  # all queries at once, and the smallest query blocks
def test_attend_bfloat16_is_masked_softmax_attention(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SCORES", scores)
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 4, 70, 16).bfloat16() for _ in range(3))
    lengths = torch.tensor([70, 41, 1])
    mask = lengths_to_mask(lengths, 70)
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask[:, None, None, :])
    result = attend_bfloat16(q, k, v, mask).float()
    for b, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(result[b, :n], expected.transpose(1, 2).flatten(2)[b, :n], atol=0.02, rtol=0.02)
        assert result[b, n:].abs().sum() == 0


def test_both_paths_of_self_attention_agree() -> None:
    torch.manual_seed(0)
    module = SelfAttention(64, 4).bfloat16().eval()
    x = torch.randn(2, 30, 64).bfloat16()
    fused = module(x, None)
    with torch.no_grad():
        by_clip = module(x, None)
    assert torch.cosine_similarity(fused.float(), by_clip.float(), dim=-1).min() > 0.999


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("norm_first", [False, True])
def test_computing_only_the_first_frames_changes_nothing(norm_first: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    stack = Transformer(2, 64, 4, 128, norm_first=norm_first).to(dtype).eval()
    x, mask = torch.randn(2, 30, 64).to(dtype), lengths_to_mask(torch.tensor([30, 17]), 30)
    with torch.no_grad():
        (full,), (some,) = stack(x, mask, [2]), stack(x, mask, [2], first=3)
    torch.testing.assert_close(some, full[:, :3], atol=1e-5 if dtype == torch.float32 else 0.05, rtol=0)


def test_a_dropped_last_block_still_gives_the_first_frames() -> None:
    stack = Transformer(2, 64, 4, 128, norm_first=True, layerdrop=1.0).train()
    assert stack(torch.randn(2, 30, 64), None, [2], first=1)[0].shape == (2, 1, 64)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_for_training_is_masked_softmax_attention_with_its_gradients(masked: bool) -> None:
    torch.manual_seed(0)
    qkv = torch.randn(3, 11, 24, dtype=torch.float64, requires_grad=True)
    mask = lengths_to_mask(torch.tensor([11, 7, 1]), 11) if masked else None
    ours = attend(qkv, 2, mask)
    q, k, v = qkv.unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
    keys = None if mask is None else mask[:, None, None, :]
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=keys).transpose(1, 2).flatten(2)
    torch.testing.assert_close(ours, expected)
    weights = torch.randn_like(ours)
    gradients = [torch.autograd.grad((y * weights).sum(), qkv)[0] for y in (ours, expected)]
    torch.testing.assert_close(*gradients)
    assert torch.autograd.gradcheck(lambda x: attend(x, 2, mask), qkv)


def test_attention_dropout_keeps_the_mean_and_has_the_right_gradient() -> None:
    torch.manual_seed(0)
    qkv = torch.randn(1, 6, 12, dtype=torch.float64, requires_grad=True)
    draws = torch.stack([attend(qkv.detach(), 2, None, 0.3) for _ in range(4000)])
    torch.testing.assert_close(draws.mean(0), attend(qkv.detach(), 2, None), atol=0.05, rtol=0.05)

    def seeded(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return attend(x, 2, None, 0.3)

    assert torch.autograd.gradcheck(seeded, qkv)


def test_autocast_on_a_cpu_trains_with_attend() -> None:
    torch.manual_seed(0)
    module, x = SelfAttention(64, 4).train(), torch.randn(2, 30, 64)
    exact = module(x, None)
    with torch.autocast("cpu", torch.bfloat16):
        rough = module(x, None)
    assert "Attend" in _names(rough.grad_fn)
    assert torch.cosine_similarity(exact, rough.float(), dim=-1).min() > 0.999


def _names(node: object) -> str:
    """Names of the operations in the autograd graph of a tensor."""
    names, nodes = [], [node]
    while nodes:
        current = nodes.pop()
        names.append(type(current).__name__)
        nodes += [parent for parent, _ in getattr(current, "next_functions", ()) if parent is not None]
    return " ".join(names)
