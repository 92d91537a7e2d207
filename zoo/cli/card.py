"""The text that `zoo card` prints."""

from __future__ import annotations

from zoo import registry
from zoo.card_page import PAGE, bullets, table_of
from zoo.cards import PACKAGED, ModelCard
from zoo.checkpoint import is_checkpoint
from zoo.io.paths import expand_path


def read(source: str) -> str:
    """The model card of a packaged model or a checkpoint directory, without front matter.

    For other registered models, a page made from the registry. A registered name takes precedence over a folder of the
    same name, as in `zoo.load`. Raises UnknownModelError for an unknown name.
    """
    folder = expand_path(source)
    page = folder / PAGE
    if registry.is_registered(source) or not (page.is_file() and is_checkpoint(folder)):
        card = registry.info(source)
        if card.source != PACKAGED:
            return _registered_page(card)
        page = registry.ASSETS / card.name / PAGE
    text = page.read_text(encoding="utf-8")
    return text.partition("\n---\n")[2].lstrip() if text.startswith("---\n") else text


def _registered_page(card: ModelCard) -> str:
    weights = card.source or ("needs none" if card.parameters == 0 else "none published")
    facts = {
        "family": card.family,
        "parameters": f"{card.parameters:g} million",
        "weights": weights,
        "license": card.license,
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
