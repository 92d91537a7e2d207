"""Choose a text for a clip, from several kinds of text with weights.

    {captions: 2, title: 1, instrument+style+tempo: 1}

Kinds of text are `captions` (or `text`, if a clip has no captions), `text` and label columns. Columns joined by + are
tags: a random selection of their values, in random order, separated by commas.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.io.seeds import mix

_KIND, _TEXT, _TAGS = 11, 12, 13  # keys of the random draws; crops use 1


class Texts:
    """The texts of clips by kind, and a weighted draw among them."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """weights: kind -> weight; empty: captions only."""
        self.weights = {kind: weight for kind, weight in weights.items() if weight} or {"captions": 1.0}

    def of(self, entry: Entry) -> dict[str, list[str]]:
        """Kind -> its texts; without the kinds that the clip does not have."""
        texts = {kind: _column(entry, kind) for kind in self.weights}
        return {kind: of_kind for kind, of_kind in texts.items() if of_kind}

    def draw(self, entry: Entry, seed: int) -> str:
        """A random text, a function of the seed: a kind by weight, then one of its texts uniformly."""
        by_kind = self.of(entry)
        kinds = list(by_kind)
        weights = [self.weights[kind] for kind in kinds]
        left = mix(seed, _KIND) / 2**63 * sum(weights)
        kind = kinds[-1]
        for candidate, weight in zip(kinds, weights, strict=True):
            left -= weight
            if left < 0:
                kind = candidate
                break
        texts = by_kind[kind]
        if "+" not in kind:
            return texts[mix(seed, _TEXT) % len(texts)]
        order = sorted(range(len(texts)), key=lambda i: mix(seed, _TAGS, i))
        return ", ".join(texts[i] for i in order[: 1 + mix(seed, _TEXT) % len(texts)])

    def first(self, entry: Entry) -> str:
        """The representative text of a clip: the first text of the kind with the largest weight."""
        by_kind = self.of(entry)
        kind = max(by_kind, key=lambda kind: self.weights[kind])
        return by_kind[kind][0] if "+" not in kind else ", ".join(by_kind[kind])

    def usable(self, entries: Sequence[Entry], source: str, say: Callable[[str], None]) -> list[Entry]:
        """The entries with a text. `say` gets a line about missing kinds. Raises ConfigError if no entry has a text."""
        texts_of = [(entry, self.of(entry)) for entry in entries]
        usable = [entry for entry, texts in texts_of if texts]
        columns = ", ".join(sorted({key for entry in entries for key in entry.labels})) or "none"
        if not usable:
            raise ConfigError(
                f"{source}: no clip has one of the texts {', '.join(self.weights)} (data.text); use "
                f"captions, text, or some of the columns {columns}"
            )
        found = [kind for kind in self.weights if any(kind in texts for _, texts in texts_of)]
        named = dict.fromkeys(name for kind in self.weights for name in kind.split("+"))
        missing = [name for name in named if not any(_column(entry, name) for entry in entries)]
        if missing:
            say(
                f"the texts of {source} are {', '.join(found)}; no clip has {', '.join(missing)}, which data.text "
                f"names too (other columns: {columns})"
            )
        if len(usable) < len(texts_of):
            say(f"{len(texts_of) - len(usable)} of {len(texts_of)} clips of {source} have no text and are left out")
        return usable


def _column(entry: Entry, kind: str) -> list[str]:
    if kind == "captions":
        return [caption for caption in entry.captions if caption.strip()] or _as_list(entry.text)
    if kind == "text":
        return _as_list(entry.text)
    values = [entry.labels.get(name) for name in kind.split("+")]
    words = [str(value) for value in values if value is not None and not isinstance(value, bool)]
    return [word for word in words if word.strip() not in ("", "none")]


def _as_list(text: str | None) -> list[str]:
    return [text] if text and text.strip() else []
