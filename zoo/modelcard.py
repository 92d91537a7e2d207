"""README.md of a checkpoint: what the model is, in prose for people and in front matter for the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from zoo import registry
from zoo.cards import PACKAGED, ModelCard

if TYPE_CHECKING:
    from zoo.encoder import Encoder

PAGE = "README.md"


def model_card(model: Encoder, header: Mapping[str, Any], card: ModelCard | None = None, results: str = "") -> str:
    """Markdown with metadata front matter.

    header: the checkpoint's config.yaml, as written beside the page. card: of a model that zoo ships, for its data,
    limits and scores. results: Markdown of its examinations; see `zoo bench card`.
    """
    provenance: Mapping[str, Any] = header["provenance"]
    name = model.name or model.family
    metadata = {
        "license": str(provenance.get("licence", "unknown")).lower(),
        "library_name": "audiozoo",
        "pipeline_tag": "automatic-speech-recognition" if _transcribes(model) else "feature-extraction",
        "tags": ["audio", "audiozoo", model.family],
    }
    sections = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---",
        f"# {name}",
        f"{card.summary if card else 'An audio encoder'}, for audiozoo (`import zoo`).",
        _usage(model, card.name if card else "path/to/this/directory"),
        _table(_facts(model, header)),
    ]
    if card:
        sections += [f"## Data\n\nTrained on {card.training_data}.", "## Limits\n\n" + _bullets(card.limits)]
        sections += ["## What the recipe measured\n\n" + _bullets(card.scores)]
    if results:
        sections.append(f"## Results\n\n{results}")
    known = {key: value for key, value in provenance.items() if value is not None}
    origin = _table(known) if known else "Nothing is recorded about where these weights come from."
    sections += [f"## Origin\n\n{origin}", "Architecture and preprocessing are in `config.yaml`."]
    return "\n\n".join(sections) + "\n"


def read(source: str) -> str:
    """The page of a packaged model or of a checkpoint directory, without its front matter; or what the table knows.

    A registered name comes before a folder of that name, as in `zoo.load`. Raises UnknownModelError.
    """
    from zoo import checkpoint

    folder = checkpoint.place(source)
    page = folder / PAGE
    if registry.is_registered(source) or not (page.is_file() and checkpoint.is_checkpoint(folder)):
        card = registry.info(source)
        if card.source != PACKAGED:
            return _known(card)
        page = registry.ASSETS / card.name / PAGE
    text = page.read_text(encoding="utf-8")
    return text.partition("\n---\n")[2].lstrip() if text.startswith("---\n") else text


def _known(card: ModelCard) -> str:
    where = card.source or ("nothing to learn" if card.parameters == 0 else "none published")
    facts = {
        "family": card.family,
        "parameters": f"{card.parameters:g} million",
        "weights": where,
        "licence": card.licence,
        "training data": card.training_data,
        "paper": card.paper or "-",
    }
    sections = [f"# {card.name}", f"{card.summary}.", _table(facts)]
    if card.limits:
        sections.append("## Limits\n\n" + _bullets(card.limits))
    if card.scores:
        sections.append("## Published scores, not measured here\n\n" + _bullets(card.scores))
    if card.recipe:
        sections.append(f"## Recipe\n\n`{card.recipe}`")
    return "\n\n".join(sections) + "\n"


def _facts(model: Encoder, header: Mapping[str, Any]) -> dict[str, str]:
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    return {
        "family": model.family,
        "parameters": f"{millions:.1f} million",
        "layers, width": f"{model.num_layers}, {model.dim}",
        "input": f"mono audio at {model.sample_rate} Hz",
        "output": f"{model.frame_rate:g} frames a second",
        "fingerprint": header["fingerprint"],
        "written by": f"audiozoo {header['zoo_version']}",
    }


def _usage(model: Encoder, source: str) -> str:
    lines = [
        "import zoo",
        "",
        f'model = zoo.load("{source}")',
        f'vector = model.embed("recording.wav")  # ({model.dim},)',
    ]
    if getattr(model, "quantizer", None) is not None:
        lines.append('units = model.units("recording.wav")')
    if hasattr(model, "similarity"):
        lines.append('scores = model.similarity(["recording.wav"], ["slow piano", "fast drums"])  # (1, 2)')
    if _transcribes(model):
        lines.append('text = model.transcribe("recording.wav").text')
    return "```python\n" + "\n".join(lines) + "\n```"


def _transcribes(model: Encoder) -> bool:
    """Whisper does; HuBERT where it has letters to write with."""
    return hasattr(model, "transcribe") and bool(getattr(model.config, "vocabulary", True))


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|-|-|", *(f"| {key} | {value} |" for key, value in rows.items())])


def _bullets(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines)
