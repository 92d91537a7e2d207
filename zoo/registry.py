"""One flat table from names to models, and the two ways to get one: `load` (with weights) and `create` (fresh)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from difflib import get_close_matches
from fnmatch import fnmatchcase
from importlib import import_module
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.cards import CARDS, FAMILIES, PACKAGED, SHORT_NAMES, ModelCard
from zoo.errors import CheckpointError, ConfigError, UnknownModelError

if TYPE_CHECKING:
    from zoo.encoder import Encoder

ASSETS = Path(__file__).parent / "assets"
_cards: dict[str, ModelCard] = {card.name: card for card in CARDS}
_families: dict[str, str | type[Encoder]] = dict(FAMILIES)


def list_models(pattern: str = "*") -> list[str]:
    """Registered names that match a shell pattern such as "hubert*", in the order of registration."""
    return [name for name in _cards if fnmatchcase(name, pattern)]


def is_registered(name: str) -> bool:
    """Whether `load` and `create` know the name, in full or in short."""
    return SHORT_NAMES.get(name, name) in _cards


def info(name: str) -> ModelCard:
    """The card of a registered model, "hubert" being short for "hubert-mini" and so on.

    Raises UnknownModelError, listing near names.
    """
    name = SHORT_NAMES.get(name, name)
    if name not in _cards:
        near = _near(name, cutoff=0.4) or [n for n in _cards if name in n][:3]
        hint = f"did you mean {', '.join(near)}?" if near else "`zoo list` shows all names"
        raise UnknownModelError(f"no model is called {name!r}; {hint}")
    return _cards[name]


def _near(name: str, cutoff: float) -> list[str]:
    """Up to three registered names like this one, whatever the case of their letters."""
    known = {known.lower(): known for known in _cards}
    return [known[match] for match in get_close_matches(name.lower(), known, n=3, cutoff=cutoff)]


def register(card: ModelCard, encoder: str | type[Encoder] | None = None) -> None:
    """Add a model to the table.

    encoder: class, or "module:Class" to import on first use; needed when card.family is new.
    Raises ConfigError when the name is taken or the family unknown or bound to another class.
    """
    if card.name in SHORT_NAMES:  # under it everybody would go on to get the other one
        raise ConfigError(f"{card.name!r} is short for {SHORT_NAMES[card.name]}; choose another name")
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


def load(source: str | Path, device: str = "auto", dtype: str = "float32") -> Encoder:
    """A model with its weights, in eval mode.

    source: a registered name ("hubert": the small one inside this package; "hubert-base": published weights, cached by
            huggingface_hub), "hf:owner/name", a directory (ours, or Hugging Face layout) or a file (fairseq .pt).
    device: "auto" (the GPU where there is one), "cpu", "cuda", "cuda:1", ...
    dtype:  "float32", "bfloat16", "float16", "int8" (CPU, linear layers only), or "auto": bfloat16 where the device
            multiplies it natively, else float32. Results are float32 in any case.

    Raises UnknownModelError, ConfigError, or CheckpointError (missing, damaged, unsupported, no network and no cache).
    """
    from zoo.precision import resolve_device, resolve_dtype, to_dtype

    target = resolve_device(device)
    precision, _ = resolve_dtype(dtype, target)
    model = to_dtype(_load_weights(source), precision)
    return model.to(target).eval()


def _load_weights(source: str | Path) -> Encoder:
    from zoo import checkpoint, importers

    path = checkpoint.place(source)
    if isinstance(source, str) and (
        source in _cards or source in SHORT_NAMES or not (source.startswith("hf:") or path.exists())
    ):
        if path.suffix or len(path.parts) > 1:
            hint = f"; a repository of the hub is written hf:{source}" if len(path.parts) == 2 else ""
            if len(path.parts) == 1 and (near := _near(source, cutoff=0.75)):  # a dot is in names too: whisper-tiny.en
                hint = f", and no model is called so; did you mean {', '.join(near)}?"
            raise CheckpointError(f"{source}: no such file or directory{hint}")
        card = info(source)
        if card.parameters == 0:
            return create(source)
        if card.source is None:
            train = f"; `{card.recipe}` trains it" if card.recipe else ""
            raise CheckpointError(
                f"{source} has no published weights{train}; zoo.create({source!r}) gives the untrained architecture"
            )
        if card.source == PACKAGED:
            return checkpoint.load(ASSETS / card.name)
        model = importers.load_foreign(card.source)
        model.name = source
        return model
    if checkpoint.is_checkpoint(path):
        return checkpoint.load(path)
    return importers.load_foreign(source)
