"""Which text goes with a clip this time: several kinds of text, mixed by weight.

    {captions: 2, title: 1, instrument+style+tempo: 1}

`captions` (or `text`, where a clip has none), `text` and label columns are kinds of text. Columns joined by + are tags:
some of them, in any order, with commas between.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from zoo.data.manifest import Entry
from zoo.errors import ConfigError
from zoo.io.seeds import mix

_KIND, _TEXT, _TAGS = 11, 12, 13  # what is drawn; crops take 1


class Texts:
    """The texts of clips by kind, and a weighted draw among them."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """weights: kind -> weight; none at all: captions."""
        self.weights = {kind: weight for kind, weight in weights.items() if weight} or {"captions": 1.0}

    def of(self, entry: Entry) -> dict[str, list[str]]:
        """Kind -> what there is of it; kinds that the clip lacks are left out."""
        texts = {kind: _column(entry, kind) for kind in self.weights}
        return {kind: found for kind, found in texts.items() if found}

    def draw(self, entry: Entry, seed: int) -> str:
        """One text of a clip that has some, by weight and then evenly: a function of the item's seed."""
        found = self.of(entry)
        kinds = list(found)
        weights = [self.weights[kind] for kind in kinds]
        left = mix(seed, _KIND) / 2**63 * sum(weights)
        kind = kinds[-1]
        for candidate, weight in zip(kinds, weights, strict=True):
            left -= weight
            if left < 0:
                kind = candidate
                break
        texts = found[kind]
        if "+" not in kind:
            return texts[mix(seed, _TEXT) % len(texts)]
        order = sorted(range(len(texts)), key=lambda i: mix(seed, _TAGS, i))
        return ", ".join(texts[i] for i in order[: 1 + mix(seed, _TEXT) % len(texts)])

    def first(self, entry: Entry) -> str:
        """The text that stands for a clip where one must: the first of the kind with the most weight."""
        found = self.of(entry)
        kind = max(found, key=lambda kind: self.weights[kind])
        return found[kind][0] if "+" not in kind else ", ".join(found[kind])

    def usable(self, entries: Sequence[Entry], source: str, say: Callable[[str], None]) -> list[Entry]:
        """Entries that have a text; kinds that occur nowhere are told. Raises ConfigError where none has any."""
        found = [(entry, self.of(entry)) for entry in entries]
        kept = [entry for entry, texts in found if texts]
        columns = ", ".join(sorted({key for entry in entries for key in entry.labels})) or "none"
        if not kept:
            raise ConfigError(
                f"{source}: no clip has one of the texts {', '.join(self.weights)} (data.text); name "
                f"those it has: captions, text, or some of the columns {columns}"
            )
        if missing := self.weights.keys() - {kind for _, texts in found for kind in texts}:
            say(f"no clip of {source} has a text {', '.join(sorted(missing))} (data.text); columns: {columns}")
        if len(kept) < len(found):
            say(f"{len(found) - len(kept)} of {len(found)} clips of {source} have no text and are left out")
        return kept


def _column(entry: Entry, kind: str) -> list[str]:
    if kind == "captions":
        return [caption for caption in entry.captions if caption.strip()] or _given(entry.text)
    if kind == "text":
        return _given(entry.text)
    values = [entry.labels.get(name) for name in kind.split("+")]
    words = [str(value) for value in values if value is not None and not isinstance(value, bool)]
    return [word for word in words if word.strip() not in ("", "none")]


def _given(text: str | None) -> list[str]:
    return [text] if text and text.strip() else []
