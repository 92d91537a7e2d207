"""CTranslate2's model.bin: files of its own converter, and files that are refused.

The folders beside this file were written by CTranslate2 4.8.5 from one WhisperForConditionalGeneration of width 8 with
32 tokens, with and without quantization="int8". Like every new model it has two equal biases, which are one variable.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
from foreign_whisper import ctranslate2_directory, whisper
from torch import Tensor

import zoo
from zoo.errors import CheckpointError
from zoo.models.whisper.model import Whisper

REAL = Path(__file__).parent / "ctranslate2-4.8.5"


def load(source: Path) -> Whisper:
    model = zoo.load(source, device="cpu")
    assert isinstance(model, Whisper)
    return model


def test_files_of_its_own_converter() -> None:
    exact, rough = load(REAL / "float32"), load(REAL / "int8")
    assert exact.config == rough.config
    assert (exact.config.dim, exact.config.vocab_size, exact.config.alignment_heads) == (8, 32, ((0, 1),))
    for name, tensor in exact.state_dict().items():
        assert (tensor - rough.state_dict()[name]).abs().max() <= tensor.abs().max() / 200, name


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_equal_variables_become_separate_parameters(kind: str, tmp_path: Path) -> None:
    model = load(REAL / kind)
    first, second = model.encoder.conv_in.bias, model.encoder.conv_out.bias
    assert torch.equal(first, second) and first.data_ptr() != second.data_ptr()
    model.save(tmp_path / "own")
    assert load(tmp_path / "own").fingerprint() == model.fingerprint()


def test_an_untied_output_is_refused(tmp_path: Path) -> None:
    theirs, projection = whisper(), "decoder/projection/weight"
    words = theirs.model.decoder.embed_tokens.weight.detach()
    folder = ctranslate2_directory(theirs, tmp_path, aliases={}, **{projection: words.clone()})
    assert torch.equal(load(folder).decoder.tokens.weight, words)
    ctranslate2_directory(theirs, folder, aliases={}, **{projection: words + 0.1})
    with pytest.raises(CheckpointError, match=f"{projection} differs from the token embedding"):
        load(folder)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"decoder/alibi": torch.tensor(1, dtype=torch.int8)}, "decoder/alibi is set"),
        ({"encoder/conv1/weight": torch.ones(64, 80, 3, dtype=torch.int8)}, "encoder/conv1/weight is torch.int8"),
        ({"encoder/conv1/weight_scale": torch.ones(7)}, "encoder/conv1/weight_scale has 7 numbers for 64 rows"),
        ({"encoder/conv1/weight": torch.ones(64, 80)}, "cannot be understood"),
    ],
)
def test_unsupported_variables_are_refused(extra: dict[str, Tensor], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        load(ctranslate2_directory(whisper(), tmp_path, **extra))


def test_aliases_without_a_variable_are_refused(tmp_path: Path) -> None:
    folder = ctranslate2_directory(whisper(), tmp_path, aliases={"encoder/conv2/bias": "encoder/conv3/bias"})
    with pytest.raises(CheckpointError, match=r"model\.bin: encoder/conv2/bias refers to encoder/conv3/bias"):
        load(folder)


def test_a_variable_of_the_wrong_size_is_refused(tmp_path: Path) -> None:
    folder = ctranslate2_directory(whisper(), tmp_path)
    content = bytearray((folder / "model.bin").read_bytes())
    offset = content.index(b"encoder/conv1/bias\0") + len("encoder/conv1/bias") + 2
    assert struct.unpack_from("<I", content, offset) == (64,)
    struct.pack_into("<I", content, offset, 63)
    (folder / "model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"encoder/conv1/bias has 256 bytes for \(63,\) numbers"):
        load(folder)
