"""The text that `zoo card` prints."""

from __future__ import annotations

from pathlib import Path

from zoo import loading, registry
from zoo.card_page import PAGE, bullets, table_of
from zoo.cards import PACKAGED, ModelCard
from zoo.errors import CheckpointError
from zoo.io.paths import expand_path
from zoo.io.small_files import read_text


def read(source: str) -> str:
    """The model card of a packaged model or a checkpoint directory, without front matter.

    For other registered models, a page made from the registry; for a run folder, the page of its model. A registered
    name takes precedence over a folder of the same name, as in `zoo.load`.
    Raises UnknownModelError for an unknown name, CheckpointError for a path that is no checkpoint of zoo.
    """
    if registry.is_registered(source):
        card = registry.info(source)
        if card.source != PACKAGED:
            return _registered_page(card)
        return _text(registry.ASSETS / card.name / PAGE)
    path = expand_path(source)
    if not source.startswith("hf:"):
        loading.check_exists(source, path)
    folder = loading.find_checkpoint(path)
    if folder is None:
        raise CheckpointError(
            f"{source}: not a checkpoint of zoo; `zoo convert {source} DIRECTORY` makes one with a card"
        )
    return _text(folder / PAGE)


def _text(page: Path) -> str:
    """A page without its front matter."""
    text = read_text(page)
    return text.partition("\n---\n")[2].lstrip() if text.startswith("---\n") else text


def _registered_page(card: ModelCard) -> str:
    weights = card.source or ("needs none" if card.parameters == 0 else "none published")
    facts = {
        "family": card.family,
        "parameters": f"{card.parameters:g} million" if card.parameters else "-",
        "weights": weights,
        "license": card.license or "-",
        "training data": card.training_data,
        "paper": card.paper or "-",
    }
    sections = [f"# {card.name}", f"{card.summary}.", table_of(facts)]
    if card.limits:
        sections.append("## Limits\n\n" + bullets(card.limits))
    if card.scores:
        sections.append("## Published scores, not measured here\n\n" + bullets(card.scores))
    if card.recipe:
        sections.append(f"## Recipe\n\n`{card.recipe}`")
    return "\n\n".join(sections) + "\n"
