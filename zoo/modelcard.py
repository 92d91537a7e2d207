"""README.md of a checkpoint: what the model is, in prose for people and in front matter for the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from zoo.encoder import Encoder


def model_card(model: Encoder, header: Mapping[str, Any]) -> str:
    """Markdown with metadata front matter. header: the checkpoint's config.yaml, as written beside the card."""
    provenance: Mapping[str, Any] = header["provenance"]
    transcribes = bool(getattr(model.config, "vocabulary", ()))
    name = model.name or model.family
    metadata = {
        "license": str(provenance.get("licence", "unknown")).lower(),
        "library_name": "audiozoo",
        "pipeline_tag": "automatic-speech-recognition" if transcribes else "feature-extraction",
        "tags": ["audio", "audiozoo", model.family],
    }
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    facts = {
        "family": model.family,
        "parameters": f"{millions:.1f} million",
        "layers, width": f"{model.num_layers}, {model.dim}",
        "input": f"mono audio at {model.sample_rate} Hz",
        "output": f"{model.frame_rate:g} frames a second",
        "fingerprint": header["fingerprint"],
        "written by": f"audiozoo {header['zoo_version']}",
    }
    origin = _table(provenance) if provenance else "Nothing is recorded about where these weights come from."
    return (
        f"---\n{yaml.safe_dump(metadata, sort_keys=False)}---\n\n"
        f"# {name}\n\n"
        f"An audio encoder for [audiozoo](https://pypi.org/project/audiozoo/).\n\n"
        "```python\nimport zoo\n\n"
        'model = zoo.load("path/to/this/directory")\n'
        f'vector = model.embed("recording.wav")  # ({model.dim},)\n```\n\n'
        f"{_table(facts)}\n\n## Origin\n\n{origin}\n\n"
        "Architecture and preprocessing are in `config.yaml`.\n"
    )


def _table(rows: Mapping[str, Any]) -> str:
    return "\n".join(["| | |", "|-|-|", *(f"| {key} | {value} |" for key, value in rows.items())])
