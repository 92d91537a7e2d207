"""Foreign weights -> zoo's models. What a source is, its content decides, never its name.

To add a format: write a reader `Source -> Foreign` in a module here, and one line in IMPORTERS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from zoo.errors import CheckpointError
from zoo.importers.source import Foreign, ForeignSource, understood
from zoo.io.small_files import check_regular, read_json
from zoo.io.text import shorten

ADAPTER = "adapter_config.json"


@dataclass(frozen=True)
class Importer:
    """title for messages; matches: whether it can read such content; target: "module:function" of its reader.

    Content is config.json for a directory, the unpickled file otherwise.
    """

    title: str
    matches: Callable[[Mapping[str, Any]], bool]
    target: str


IMPORTERS: tuple[Importer, ...] = (
    Importer(
        "Hugging Face HuBERT, wav2vec 2.0, UniSpeech or UniSpeech-SAT directory",
        lambda c: c.get("model_type") in ("hubert", "wav2vec2", "unispeech", "unispeech-sat"),
        "zoo.importers.hf:read",
    ),
    Importer("Hugging Face WavLM directory", lambda c: c.get("model_type") == "wavlm", "zoo.importers.wavlm:read"),
    Importer(
        "Hugging Face AST directory",
        lambda c: c.get("model_type") == "audio-spectrogram-transformer",
        "zoo.importers.ast:read",
    ),
    Importer(
        "fairseq HuBERT .pt", lambda c: "model" in c and bool({"cfg", "args"} & c.keys()), "zoo.importers.fairseq:read"
    ),
    Importer(
        "Hugging Face Whisper directory", lambda c: c.get("model_type") == "whisper", "zoo.importers.whisper_hf:read"
    ),
    Importer("Hugging Face CLAP directory", lambda c: c.get("model_type") == "clap", "zoo.importers.clap:read"),
    Importer("openai-whisper .pt", lambda c: {"dims", "model_state_dict"} <= c.keys(), "zoo.importers.openai:read"),
    Importer(
        "CTranslate2 Whisper directory",
        lambda c: "model_type" not in c and {"lang_ids", "suppress_ids"} <= c.keys(),
        "zoo.importers.ctranslate2:read",
    ),
)


def read(name: str, path: Path) -> Foreign:
    """What the first importer that knows the content at `path` makes of it. name: as people gave it, for messages.

    Raises CheckpointError: damaged, of no known layout, or asking for what zoo does not implement.
    """
    opened = _open(name, path)
    importer = next((i for i in IMPORTERS if i.matches(opened.content)), None)
    if importer is None:
        titles = ", ".join(i.title for i in IMPORTERS)
        by_transformers = f"; if transformers computes it: zoo.load({shorten(name)}, wrap=True) in Python"
        raise CheckpointError(
            f"{name}: {_describe(opened.content)} is no model that zoo can read; it reads its own directories and: "
            + titles
            + (by_transformers if "model_type" in opened.content else "")
        )
    module, _, function = importer.target.partition(":")
    with understood(name):
        return getattr(import_module(module), function)(opened)


def _open(name: str, path: Path) -> ForeignSource:
    from zoo.importers import torchfile

    if path.is_dir():
        if not (path / "config.json").is_file():
            _explain_folder(name, path)
        return ForeignSource(name, path, read_json(path / "config.json"))
    if not path.exists():
        raise CheckpointError(f"{name}: no such file or directory; a repository of the hub is written hf:owner/name")
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{name}: holds weights alone; give the directory, in which their description is too")
    if path.suffix in (".json", ".yaml"):
        raise CheckpointError(f"{name}: holds a description alone; give the directory, in which the weights are too")
    check_regular(path)
    content = torchfile.read(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{name}: holds a {type(content).__name__}, not a checkpoint")
    return ForeignSource(name, path, content)


def _explain_folder(name: str, path: Path) -> NoReturn:
    """Raises CheckpointError for a folder without config.json, which says what the folder is instead."""
    from zoo.checkpoint import CONFIG, read_header

    if (path / ADAPTER).exists():
        base = shorten(read_json(path / ADAPTER).get("base_model_name_or_path"))
        raise CheckpointError(
            f"{name}: an adapter of PEFT for {base}, not a model; merge both with PeftModel.from_pretrained(model, "
            f"{str(path)!r}).merge_and_unload(), save the result with save_pretrained, and load that"
        )
    if (path / CONFIG).exists():
        read_header(path)  # raises: a checkpoint of zoo is read before importers are asked
    raise CheckpointError(f"{name}: holds neither config.yaml (zoo) nor config.json (Hugging Face)")


def _describe(content: Mapping[str, Any]) -> str:
    if "model_type" in content:
        return f"model_type {shorten(content['model_type'])}"
    return f"content with {', '.join(map(shorten, list(content)[:6])) or 'nothing'}"
