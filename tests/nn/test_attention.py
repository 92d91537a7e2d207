"""Clip-by-clip bfloat16 attention against PyTorch's own in float32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.nn import attention
from zoo.nn.attention import SelfAttention, attend_by_clip
from zoo.nn.masking import lengths_to_mask
from zoo.nn.transformer import Transformer


@pytest.mark.parametrize("scores", [1 << 22, 100])  # one go, and the smallest query blocks
def test_attend_by_clip_is_masked_softmax_attention(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SCORES", scores)
    torch.manual_seed(0)
    q, k, v = (torch.randn(3, 4, 70, 16).bfloat16() for _ in range(3))
    lengths = torch.tensor([70, 41, 1])
    mask = lengths_to_mask(lengths, 70)
    expected = F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask[:, None, None, :])
    result = attend_by_clip(q, k, v, mask).float()
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
def test_the_first_frames_alone_are_those_of_all(norm_first: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    stack = Transformer(2, 64, 4, 128, norm_first=norm_first).to(dtype).eval()
    x, mask = torch.randn(2, 30, 64).to(dtype), lengths_to_mask(torch.tensor([30, 17]), 30)
    with torch.no_grad():
        (full,), (some,) = stack(x, mask, [2]), stack(x, mask, [2], first=3)
    torch.testing.assert_close(some, full[:, :3], atol=1e-5 if dtype == torch.float32 else 0.05, rtol=0)


def test_a_dropped_last_block_still_gives_the_first_frames() -> None:
    stack = Transformer(2, 64, 4, 128, norm_first=True, layerdrop=1.0).train()
    assert stack(torch.randn(2, 30, 64), None, [2], first=1)[0].shape == (2, 1, 64)
