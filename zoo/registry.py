"""One flat table from names to models: cards of every family, classes, and models with fresh or given weights.

A family is a folder `zoo/models/FAMILY/` with a `cards.py`, plain data that imports nothing heavy:

    ENCODER = "zoo.models.peak.model:Peak"      its Encoder subclass, imported on first use
    CARDS = (ModelCard("peak-base", "peak", ...), ...)
    DEFAULT = "peak-base"                       what the family's name alone stands for, where it stands for one
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from numbers import Integral, Real
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from zoo import models
from zoo.cards import ModelCard
from zoo.errors import CheckpointError, ConfigError, UnknownModelError, ZooError

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.encoder import Encoder

ASSETS = Path(__file__).parent / "assets"
_cards: dict[str, ModelCard] = {}
_families: dict[str, str | type[Encoder]] = {}
"""Family name -> class or "module:Class". A checkpoint names a family, never a class: loading cannot import at will."""
_short_names: dict[str, str] = {}
"""What a family's name alone stands for."""


def discover(folders: Iterable[str]) -> None:
    """Add the families whose folders lie in `folders`, which are entries of `zoo.models.__path__`.

    Raises ConfigError where a name is taken.
    """
    for found in iter_modules(sorted(folders)):
        if not found.ispkg or not (Path(found.module_finder.path) / found.name / "cards.py").is_file():  # type: ignore[union-attr]
            continue
        family = import_module(f"zoo.models.{found.name}.cards")
        for card in family.CARDS:
            register(card, family.ENCODER)
        if hasattr(family, "DEFAULT"):
            _short_names[found.name] = family.DEFAULT


def list_models(pattern: str = "*") -> list[str]:
    """Registered names that match a shell pattern such as "hubert*", in the order of registration."""
    return [name for name in _cards if fnmatchcase(name, pattern)]


def is_registered(name: str) -> bool:
    """Whether the table has the name, in full or in short."""
    return _short_names.get(name, name) in _cards


def info(name: str) -> ModelCard:
    """The card of a registered model, "hubert" being short for "hubert-mini" and so on.

    Raises UnknownModelError, listing near names.
    """
    name = _short_names.get(name, name)
    if name not in _cards:
        near = near_names(name, cutoff=0.4) or [n for n in _cards if name in n][:3]
        hint = f"did you mean {', '.join(near)}?" if near else "`zoo list` shows all names"
        raise UnknownModelError(f"no model is called {name!r}; {hint}")
    return _cards[name]


def near_names(name: str, cutoff: float) -> list[str]:
    """Up to three registered names like this one, whatever the case of their letters."""
    known = {known.lower(): known for known in _cards}
    return [known[match] for match in get_close_matches(name.lower(), known, n=3, cutoff=cutoff)]


def register(card: ModelCard, encoder: str | type[Encoder] | None = None) -> None:
    """Add a model to the table.

    encoder: class, or "module:Class" to import on first use; needed when card.family is new.
    Raises ConfigError when the name is taken or the family unknown or bound to another class.
    """
    if card.name in _short_names:  # under it everybody would go on to get the other one
        raise ConfigError(f"{card.name!r} is short for {_short_names[card.name]}; choose another name")
    if card.name in _cards:
        raise ConfigError(f"a model called {card.name!r} is registered already")
    if encoder is not None and _written(_families.setdefault(card.family, encoder)) != _written(encoder):
        raise ConfigError(f"family {card.family!r} is already bound to {_families[card.family]}")
    if card.family not in _families:
        raise ConfigError(f"family {card.family!r} is unknown; pass its class: register(card, encoder=MyEncoder)")
    _cards[card.name] = card


def _written(encoder: str | type[Encoder]) -> str:
    """As "module:Class", imported or not."""
    return encoder if isinstance(encoder, str) else f"{encoder.__module__}:{encoder.__qualname__}"


def encoder_class(family: str) -> type[Encoder]:
    """The Encoder subclass of a family. Raises UnknownModelError."""
    if family not in _families:
        raise UnknownModelError(f"no encoder family is called {family!r}; known: {', '.join(_families)}")
    target = _families[family]
    if isinstance(target, str):
        import torch

        module, _, name = target.partition(":")
        with torch.device("cpu"):  # or constants of imported modules land on a meta device that the caller builds on
            target = _families[family] = getattr(import_module(module), name)
    return target


def build(family: str, config: Mapping[str, Any], name: str = "") -> Encoder:
    """An untrained encoder from plain configuration values.

    Raises ConfigError, naming unknown fields and near ones, and for values that no model can be built from.
    """
    cls = encoder_class(family)
    known = [f.name for f in fields(cls.Config)]
    unknown = [key for key in config if key not in known]
    if unknown:
        near = get_close_matches(unknown[0], known, n=3) or known
        raise ConfigError(f"{family} has no option {', '.join(map(repr, unknown))}; near: {', '.join(near)}")
    try:
        model = cls(cls.Config(**config))
    except ConfigError:
        raise
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:  # Runtime: torch, of impossible sizes
        reason = str(error).partition("\n")[0]
        odd = f": {', '.join(found)} is of the wrong type" if (found := _mistyped(cls.Config, config)) else ""
        raise ConfigError(f"{family} cannot be built with these options{odd} ({reason})") from error
    model.name = name
    return model.eval()


def _mistyped(schema: Any, config: Mapping[str, Any]) -> list[str]:
    """The options that are of another kind than their default is."""
    kinds: dict[type, Any] = {bool: bool, int: Integral, float: Real, str: str, tuple: (tuple, list)}
    usual = {field.name: kinds.get(type(field.default), object) for field in fields(schema)}
    return [f"{name}={value!r}" for name, value in config.items() if not isinstance(value, usual[name])]


def create(name: str, **overrides: Any) -> Encoder:
    """The architecture of a registered model with fresh weights, in eval mode.

    overrides: fields of the family's configuration, e.g. zoo.create("hubert-base", layers=6).
    Initial weights come from torch's global generator: call torch.manual_seed first for the same model twice.
    """
    card = info(name)
    model = build(card.family, {**card.config, **overrides}, name)
    if card.assets and "vocab_size" not in overrides:  # another vocabulary is for another tokenizer
        model.load_assets(ASSETS / card.assets)
    return model


def restore(
    family: str,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    name: str,
    provenance: Mapping[str, Any],
    source: str,
) -> Encoder:
    """A model of `family` that holds `tensors` and nothing else; no time goes into a random initialization.

    Raises CheckpointError, naming `source`, when config or tensors do not fit the family.
    """
    from zoo.checkpoint import assign, uninitialized

    try:
        with uninitialized():
            model = build(family, config, name)
    except ZooError as error:
        raise CheckpointError(f"{source}: the config describes no model: {error}") from error
    assign(model, tensors, source=source, adopt=True)
    model.provenance = dict(provenance)
    return model


discover(models.__path__)
