"""README.md of a checkpoint: a description for people, and front matter for the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from zoo.cards import ModelCard
from zoo.io.markdown import block, plain, row

PAGE = "README.md"
FINE_TUNED = "fine-tuned from"
"""The fact of a provenance that names the parent; the other facts are then those of the parent."""


def model_card(
    model: Any, header: Mapping[str, Any], card: ModelCard | None = None, results: str = "", *, units: bool = True
) -> str:
    """Markdown with metadata front matter.

    header: config.yaml of the checkpoint. card: for a packaged model, with its data, limits and scores.
    results: Markdown of its benchmark results; see `zoo bench card`. units: whether a quantizer is saved with it.
    """
    provenance: Mapping[str, Any] = header["provenance"]
    name = header["name"] or model.family
    metadata = {
        "license": str(provenance.get("license", "unknown")).lower(),
        "library_name": "audiozoo",
        "pipeline_tag": "automatic-speech-recognition" if _transcribes(model) else "feature-extraction",
        "tags": ["audio", "audiozoo", model.family],
    }
    sections = [
        f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---",
        f"# {block(name)}",
        f"{card.summary if card else 'An audio encoder'}, for audiozoo (`import zoo`).",
        _usage(model, card.name if card else "path/to/this/directory", units),
        table_of(_facts(model, header)),
    ]
    if card:
        sections += [f"## Data\n\nTrained on {card.training_data}.", "## Limits\n\n" + bullets(card.limits)]
        sections += ["## Scores measured by the recipe\n\n" + bullets(card.scores)]
    if results:
        sections.append(f"## Results\n\n{results}")
    facts = _origin(provenance)
    origin = table_of(facts) if facts else "The origin of these weights is not recorded."
    sections += [f"## Origin\n\n{origin}", "Architecture and preprocessing are in `config.yaml`."]
    return "\n\n".join(sections) + "\n"


def _facts(model: Any, header: Mapping[str, Any]) -> dict[str, str]:
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


def _origin(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The facts that are known. Of a fine-tuned model, its parent comes first, and the parent's facts say so."""
    facts = {key: value for key, value in provenance.items() if value is not None}
    if FINE_TUNED not in facts:
        return facts
    parent = facts.pop(FINE_TUNED)
    return {FINE_TUNED: parent} | {f"{key} of the parent": value for key, value in facts.items()}


def _usage(model: Any, source: str, units: bool) -> str:
    lines = [
        "import zoo",
        "",
        f'model = zoo.load("{source}")',
        f'vector = model.embed("recording.wav")  # ({model.dim},)',
    ]
    if units and getattr(model, "quantizer", None) is not None:
        lines.append('units = model.units("recording.wav")')
    if getattr(model, "speaker", None) is not None:
        lines.append('voice = model.embed_speaker("recording.wav")')
    if hasattr(model, "similarity"):
        lines.append('scores = model.similarity(["recording.wav"], ["slow piano", "fast drums"])  # (1, 2)')
    if _transcribes(model):
        lines.append('text = model.transcribe("recording.wav").text')
    return "```python\n" + "\n".join(lines) + "\n```"


def _transcribes(model: Any) -> bool:
    """Whether the model transcribes: Whisper does, and HuBERT with a CTC vocabulary."""
    return hasattr(model, "transcribe") and bool(getattr(model.config, "vocabulary", True))


def table_of(rows: Mapping[str, Any]) -> str:
    """A Markdown table. Names and values of strangers stay text, each on its line."""
    lines = ["| | |", "|-|-|"]
    for key, value in rows.items():
        lines.append(row([plain(str(key)), plain(str(value))]))
    return "\n".join(lines)


def bullets(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {line}" for line in lines)
