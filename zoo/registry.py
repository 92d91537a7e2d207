"""The model registry: model cards by name, encoder classes by family, and functions that build models.

A family is a folder `zoo/models/FAMILY/` with a `cards.py`. That file holds plain data and does not import torch:

    ENCODER = "zoo.models.peak.model:Peak"      its Encoder subclass, imported on first use
    CARDS = (ModelCard("peak-base", "peak", ...), ...)
    DEFAULT = "peak-base"                       optional: the model that the name "peak" alone means
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from importlib.metadata import entry_points
from numbers import Integral, Real
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from zoo import models
from zoo.cards import ModelCard
from zoo.errors import CheckpointError, ConfigError, UnknownModelError, ZooError
from zoo.io.text import shorten

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.encoder import Encoder

ASSETS = Path(__file__).parent / "assets"
_cards: dict[str, ModelCard] = {}
_families: dict[str, str | type[Encoder]] = {}
"""Family name -> class or "module:Class". A checkpoint names a family, never a class, so it cannot import any code."""
PLUGIN_GROUP = "zoo.models"
IMPORT_VARIABLE = "ZOO_IMPORT"
_IF_YOURS = f"if it is yours: --import MODULE or {IMPORT_VARIABLE}=MODULE, or import it first in Python"
_plugins: list[str] = []
"""Not empty once plugins were imported."""
_short_names: dict[str, str] = {}
"""Family name -> its default model: "hubert" -> "hubert-mini"."""


def discover(folders: Iterable[str]) -> None:
    """Register every family found in `folders`, which must be entries of `zoo.models.__path__`.

    Raises ConfigError if a model name is registered already.
    """
    for module in iter_modules(sorted(folders)):
        if not module.ispkg or not (Path(module.module_finder.path) / module.name / "cards.py").is_file():  # type: ignore[union-attr]
            continue
        family = import_module(f"zoo.models.{module.name}.cards")
        if not family.CARDS:  # models that are made in another way
            _families[module.name] = family.ENCODER
        for card in family.CARDS:
            register(card, family.ENCODER)
        if hasattr(family, "DEFAULT"):
            _short_names[module.name] = family.DEFAULT


def load_plugins() -> None:
    """Import what registers models from outside zoo, once: entry points of the group "zoo.models", and the modules that
    the environment variable ZOO_IMPORT names (with commas between).

    Raises ConfigError, naming the module, if one cannot be imported.
    """
    if _plugins:
        return
    _plugins.append(PLUGIN_GROUP)
    for plugin in entry_points(group=PLUGIN_GROUP):
        import_plugin(plugin.module, f"entry point {plugin.name} of the group {PLUGIN_GROUP}")
    for module in filter(None, os.environ.get(IMPORT_VARIABLE, "").split(",")):
        import_plugin(module.strip(), IMPORT_VARIABLE)


def import_plugin(module: str, origin: str) -> None:
    """Import a module that registers models. origin: who asked for it, for messages. Raises ConfigError."""
    try:
        import_module(module)
    except ZooError:
        raise
    except Exception as error:  # whatever foreign code raises
        raise ConfigError(f"{origin}: module {module} cannot be imported ({type(error).__name__}: {error})") from error


def list_models(pattern: str = "*") -> list[str]:
    """Registered names that match a shell pattern such as "hubert*", in the order of registration."""
    load_plugins()
    return [name for name in _cards if fnmatchcase(name, pattern)]


def is_registered(name: str) -> bool:
    """Whether `name` is a registered model or the short name of one."""
    if _short_names.get(name, name) not in _cards:
        load_plugins()
    return _short_names.get(name, name) in _cards


def info(name: str) -> ModelCard:
    """The card of a registered model. Short names work too: "hubert" means "hubert-mini".

    Raises UnknownModelError, listing similar names.
    """
    name = _short_names.get(name, name)
    if not is_registered(name):
        similar = similar_names(name, cutoff=0.4)
        hint = f"did you mean {', '.join(similar)}?" if similar else f"`zoo list` shows all names; {_IF_YOURS}"
        raise UnknownModelError(f"no model is called {shorten(name)}; {hint}")
    return _cards[name]


def similar_names(name: str, cutoff: float) -> list[str]:
    """Up to three registered names that contain `name`, or else are similar; upper and lower case are the same."""
    registered = {card_name.lower(): card_name for card_name in _cards}
    containing = [known for known in registered if len(name) > 2 and name.lower() in known]
    matches = containing or get_close_matches(name.lower(), registered, n=3, cutoff=cutoff)
    return [registered[match] for match in matches[:3]]


def register(card: ModelCard, encoder: str | type[Encoder] | None = None) -> None:
    """Register a model under `card.name`.

    encoder: class, or "module:Class" to import on first use; required for a new family.
    Raises ConfigError if the name is registered already, or the family is unknown or has another class.
    """
    if card.name in _short_names:  # `info` resolves short names first, so this card could never be reached
        raise ConfigError(f"{card.name!r} is short for {_short_names[card.name]}; choose another name")
    if card.name in _cards:
        raise ConfigError(f"a model called {card.name!r} is registered already; choose another name")
    if encoder is not None and _class_path(_families.setdefault(card.family, encoder)) != _class_path(encoder):
        raise ConfigError(f"family {card.family!r} already has the class {_families[card.family]}")
    if card.family not in _families:
        raise ConfigError(f"family {card.family!r} is unknown; pass its class: register(card, encoder=MyEncoder)")
    _cards[card.name] = card


def _class_path(encoder: str | type[Encoder]) -> str:
    """The encoder class as "module:Class", without importing it."""
    return encoder if isinstance(encoder, str) else f"{encoder.__module__}:{encoder.__qualname__}"


def encoder_class(family: str) -> type[Encoder]:
    """The Encoder subclass of a family. Raises UnknownModelError."""
    if family not in _families:
        load_plugins()
    if family not in _families:
        raise UnknownModelError(
            f"no encoder family is called {shorten(family)}; known: {', '.join(_families)}; {_IF_YOURS}"
        )
    target = _families[family]
    if isinstance(target, str):
        import torch

        module, _, name = target.partition(":")
        with torch.device("cpu"):  # the caller may build on the meta device; constants of the module must not
            target = _families[family] = getattr(import_module(module), name)
    return target


def build(family: str, config: Mapping[str, Any], name: str = "") -> Encoder:
    """An untrained encoder from plain configuration values.

    Raises ConfigError for unknown fields, listing similar ones, and for values that do not make a valid model.
    """
    cls = encoder_class(family)
    unknown = _unknown_options(cls, config)
    if unknown:
        raise ConfigError(f"{family} has {unknown}")
    from zoo.ambient import ordinary_tensors

    try:
        with ordinary_tensors():
            model = cls(cls.Config(**config))
    except ConfigError:
        raise
    except (TypeError, ValueError, ArithmeticError, RuntimeError, LookupError, AttributeError, MemoryError) as error:
        reason = str(error).partition("\n")[0][:200]  # RuntimeError: torch, invalid sizes
        mistyped = _mistyped(cls.Config, config)
        hint = f": {', '.join(mistyped)} is of the wrong type" if mistyped else ""
        raise ConfigError(f"{family} cannot be built with these options{hint} ({reason})") from error
    model.name = name
    return model.eval()


def _unknown_options(cls: type[Encoder], config: Mapping[str, Any]) -> str:
    """A message about the options that the family does not have; empty without any."""
    names = [field.name for field in fields(cls.Config)]
    unknown = [name for name in config if name not in names]
    if not unknown:
        return ""
    similar = get_close_matches(unknown[0], names, n=3) or names
    return f"no option {', '.join(map(shorten, unknown[:5]))}; similar: {', '.join(similar)}"


def _mistyped(schema: Any, config: Mapping[str, Any]) -> list[str]:
    """The options that have another type than their default, as "name=value"."""
    types: dict[type, Any] = {bool: bool, int: Integral, float: Real, str: str, tuple: (tuple, list)}
    expected = {field.name: types.get(type(field.default), object) for field in fields(schema)}
    return [f"{name}={shorten(value)}" for name, value in config.items() if not isinstance(value, expected[name])]


def create(name: str, **overrides: Any) -> Encoder:
    """The architecture of a registered model with fresh weights, in eval mode.

    overrides: fields of the family's configuration, e.g. zoo.create("hubert-base", layers=6).
    Initial weights come from torch's global generator: call torch.manual_seed first to get the same model again.
    """
    card = info(name)
    model = build(card.family, {**card.config, **overrides}, name)
    if card.assets and "vocab_size" not in overrides:  # another vocabulary needs another tokenizer
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
    """A model of `family` with the weights `tensors`. Random initialization is skipped.

    Raises CheckpointError, naming `source`, if config or tensors do not fit the family.
    """
    from zoo.checkpoint import assign
    from zoo.nn.building import bounded, uninitialized

    try:
        unknown = _unknown_options(encoder_class(family), config)
        if unknown:
            raise CheckpointError(
                f"{source}: this version of zoo has {unknown}; if another version made it, make it again with this one"
            )
        with uninitialized(), bounded(tensors):
            model = build(family, config, name)
    except CheckpointError:
        raise
    except ZooError as error:
        raise CheckpointError(f"{source}: the config is not valid: {error}") from error
    assign(model, tensors, source=source, adopt=True)
    model.provenance = dict(provenance)
    return model


discover(models.__path__)
