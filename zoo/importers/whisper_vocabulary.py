"""Finds the tokenizer of a Whisper: in its directory, or elsewhere if the directory has none."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from zoo.errors import CheckpointError, ConfigError
from zoo.io.small_files import read_json_value, read_text
from zoo.models.whisper.tokenizer import TIMESTAMPS, WhisperTokenizer

_SPECIALS = TIMESTAMPS + 8  # end and start of text, two tasks, four markers
_ENGLISH = 51_864  # ids of the English-only models
_PUBLISHED = {_ENGLISH: "openai/whisper-tiny.en", 51_865: "openai/whisper-tiny", 51_866: "openai/whisper-large-v3"}


def read_tokenizer(directory: Path) -> WhisperTokenizer | None:
    """From tokenizer.json, from vocab.json and merges.txt, or from the vocabulary.json or .txt of CTranslate2.

    None if there is none of these files. Raises CheckpointError for a damaged file.
    """
    if (directory / "tokenizer.json").is_file():
        return WhisperTokenizer.from_file(directory / "tokenizer.json")
    if (directory / "vocab.json").is_file():
        return WhisperTokenizer.from_vocabulary(directory)
    for name in ("vocabulary.json", "vocabulary.txt"):
        if (directory / name).is_file():
            return _from_tokens(directory / name)
    return None


def _from_tokens(file: Path) -> WhisperTokenizer:
    tokens = read_json_value(file) if file.suffix == ".json" else read_text(file).removesuffix("\n").split("\n")
    try:
        if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
            raise ConfigError("a list of tokens is expected")
        return WhisperTokenizer.from_tokens(tokens)
    except ConfigError as error:
        raise CheckpointError(f"{file}: not the vocabulary of a Whisper ({error})") from error


def find_tokenizer(folder: Path, size: int) -> WhisperTokenizer | None:
    """The first tokenizer with `size` ids, None if there is none.

    Searched in this order: `folder` (tokenizer.json, or multilingual.tiktoken and gpt2.tiktoken of openai-whisper), an
    installed openai-whisper, the hub.
    """
    for candidate in _candidates(folder, size):
        if len(candidate) == size:
            return candidate
    return None


def _candidates(folder: Path, size: int) -> Iterator[WhisperTokenizer]:
    if (folder / "tokenizer.json").is_file():
        yield WhisperTokenizer.from_file(folder / "tokenizer.json")
    name = "gpt2.tiktoken" if size == _ENGLISH else "multilingual.tiktoken"
    installed = find_spec("whisper")  # located, not imported
    roots = installed.submodule_search_locations if installed else None
    for path in (folder / name, *(Path(root) / "assets" / name for root in roots or ())):
        if path.is_file():
            text = len(path.read_text(encoding="ascii", errors="replace").splitlines())
            yield WhisperTokenizer.from_tiktoken(path, max(0, size - text - _SPECIALS))
    if size in _PUBLISHED and (fetched := _from_hub(_PUBLISHED[size])) is not None:
        yield fetched


def _from_hub(repo: str) -> WhisperTokenizer | None:
    """The tokenizer.json of a repository, from the cache or the network; None if neither has it."""
    from zoo.importers import hub

    file = hub.fetch_file(repo, "tokenizer.json")
    return None if file is None else WhisperTokenizer.from_file(file)
