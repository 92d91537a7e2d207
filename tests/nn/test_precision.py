"""Devices and number formats."""

from __future__ import annotations

import copy

import pytest
import torch
from small import noise, small

import zoo
from zoo.errors import ConfigError
from zoo.nn.linear import Int8Linear
from zoo.nn.precision import cpu_multiplies_bfloat16, in_words, resolve_device, resolve_dtype, to_dtype

CPU = torch.device("cpu")


def test_auto_gives_a_format_and_a_reason() -> None:
    dtype, reason = resolve_dtype("auto", CPU)
    assert dtype == ("bfloat16" if cpu_multiplies_bfloat16() else "float32")
    assert "CPU" in reason
    assert resolve_dtype("float32", CPU)[0] == "float32"
    assert resolve_dtype("float16", CPU) == ("float16", "")
    assert in_words("cpu", "float32", "no weights") == "cpu in float32 (no weights)"
    assert in_words("cpu", "float16", "") == "cpu in float16"


def test_float32_names_the_option_that_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.nn.precision.cpu_multiplies_bfloat16", lambda: True)
    expected = "cpu in float32 (bfloat16 is faster on this CPU: add --dtype auto)"
    assert in_words("cpu", *resolve_dtype("float32", CPU)) == expected
    monkeypatch.setattr("zoo.nn.precision.cpu_multiplies_bfloat16", lambda: False)
    assert in_words("cpu", *resolve_dtype("float32", CPU)) == "cpu in float32"


def test_unsupported_formats_and_devices_are_refused() -> None:
    with pytest.raises(ConfigError, match="float64"):
        resolve_dtype("float64", CPU)
    with pytest.raises(ConfigError, match="CPU only"):
        resolve_dtype("int8", torch.device("cuda"))
    with pytest.raises(ConfigError, match="'gpu'"):
        resolve_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no usable GPU"):
            resolve_device("cuda")


@pytest.mark.parametrize("name", zoo.list_models("hubert*"))
@pytest.mark.parametrize(("dtype", "cosine"), [("bfloat16", 0.999), ("int8", 0.99)])
def test_fewer_bits_keep_the_embedding(name: str, dtype: str, cosine: float) -> None:
    exact = small(name)
    rough = to_dtype(copy.deepcopy(exact), dtype)
    clips = [noise(1.0, 1), noise(2.0, 2)]
    a, b = exact.embed(clips, 16_000), rough.embed(clips, 16_000)
    assert b.dtype == torch.float32
    assert torch.cosine_similarity(a, b, dim=-1).min() > cosine
    one_by_one = torch.stack([rough.embed(clip, 16_000) for clip in clips])
    assert torch.cosine_similarity(one_by_one, b, dim=-1).min() > cosine


def test_int8_touches_transformer_blocks_only() -> None:
    model = to_dtype(small("hubert-base"), "int8")
    quantized = [name for name, module in model.named_modules() if isinstance(module, Int8Linear)]
    assert len(quantized) == 4 * model.num_layers
    assert all(name.startswith("transformer.blocks.") for name in quantized)


@pytest.mark.parametrize(
    ("given", "expected"), [(torch.bfloat16, "bfloat16"), ("bf16", "bfloat16"), ("fp16", "float16")]
)
def test_formats_have_short_names_and_those_of_torch(given: object, expected: str) -> None:
    assert resolve_dtype(given, CPU)[0] == expected  # type: ignore[arg-type]
