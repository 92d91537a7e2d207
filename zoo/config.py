"""Configurations: dataclass defaults <- YAML files <- key=value, checked against the dataclass.

    config = parse(RecipeConfig, sys.argv[1:])
    python -m zoo.recipes.hubert.train --config base train.steps=1000 data.batch_seconds=90

A field's documentation is the comment behind it:

    steps: int = 2000  # optimizer steps

Use Enum rather than Literal, and lists of dataclasses rather than of tuples: OmegaConf knows no other forms.
"""

from __future__ import annotations

import difflib
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo.errors import ConfigError

C = TypeVar("C")

_USAGE = """\
usage: {program} [--config NAME_OR_FILE ...] [key=value ...]

  --config NAME   a preset{presets}
  --config FILE   values that differ from the defaults, as YAML; later files and key=value win
  --print-config  show the resulting configuration and stop
  --help          show this and stop
"""


def parse(
    schema: type[C], argv: Sequence[str] | None = None, program: str = "python -m ...", presets: Path | None = None
) -> C:
    """The configuration that a command line describes; --help and --print-config print and raise SystemExit(0).

    schema: a dataclass whose fields all have defaults. argv: the arguments without the program; None = sys.argv[1:].
    presets: folder of YAML files that go by name.

    Raises ConfigError as `load`, and for an argument that is none of the above.
    """
    left = list(sys.argv[1:] if argv is None else argv)
    files: list[str] = []
    overrides: list[str] = []
    show = False
    while left:
        argument = left.pop(0)
        if argument in ("--help", "-h"):
            names = ", ".join(preset_names(presets))
            print(
                _USAGE.format(program=program, presets=f": {names}" if names else "")
                + "\n"
                + "\n".join(describe(schema()))
            )
            raise SystemExit(0)
        if argument == "--config" and left:
            files.append(left.pop(0))
        elif argument.startswith("--config="):
            files.append(argument.partition("=")[2])
        elif argument == "--print-config":
            show = True
        elif "=" in argument and not argument.startswith("-"):
            overrides.append(argument)
        else:
            raise ConfigError(f"{argument!r}: expected key=value, --config FILE, --print-config or --help")
    config = load(schema, [find_preset(file, presets) for file in files], overrides)
    if show:
        print(to_yaml(config), end="")
        raise SystemExit(0)
    return config


def preset_names(presets: Path | None) -> list[str]:
    """The presets in a folder, by name."""
    return sorted(path.stem for path in presets.glob("*.yaml")) if presets else []


def find_preset(name: str, presets: Path | None) -> Path:
    """The file that `--config name` means: a file of that path, or else a preset.

    Raises ConfigError, listing the presets, where there is neither.
    """
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    if name in preset_names(presets):
        return cast(Path, presets) / f"{name}.yaml"
    known = ", ".join(preset_names(presets)) or "none"
    raise ConfigError(f"--config {name}: no such file or preset; give a YAML file, or one of the presets: {known}")


def load(schema: type[C], files: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> C:
    """The defaults of `schema`, changed by YAML files and then by "key=value" (dotted keys, YAML values).

    Raises ConfigError, naming file or override and field, for an unknown field (with near names), a value of the wrong
    type, a file that cannot be read, and whatever the dataclasses raise in __post_init__.
    """
    merged = OmegaConf.structured(schema)
    _unlock(merged)
    for file in files:
        merged = _merge(schema, merged, _read(Path(file)), str(file))
    for override in overrides:
        merged = _merge(schema, merged, _override(override), override)
    try:
        return cast(C, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        _fail(schema, "configuration", error)


def to_yaml(config: Any) -> str:
    """A configuration as YAML that `load` reads back."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def describe(config: Any, prefix: str = "") -> Iterator[str]:
    """Lines for people: every field with its value and its documentation, nested dataclasses after the rest."""
    comments = _comments(type(config))
    nested: list[tuple[str, Any]] = []
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            nested.append((f"{prefix}{field.name}", value))
        else:
            yield f"  {f'{prefix}{field.name}={_inline(value)}':<44} {comments.get(field.name, '')}".rstrip()
    for name, inner in nested:
        yield ""
        yield f"{name}: {(inspect.getdoc(inner) or '').strip()}"
        yield from describe(inner, f"{name}.")


def _inline(value: Any) -> str:
    """As it is written behind key=: text without quotes, everything else as YAML in one line."""
    plain = _plain(value)
    if isinstance(plain, str):
        return plain
    shown = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000)
    return shown.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    """Values of enums, and what is set of dataclasses."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if is_dataclass(value):
        return {name: _plain(own) for name, own in vars(value).items() if own is not None}
    return value


def _comments(schema: type) -> dict[str, str]:
    """field -> the comment on its line, base classes included; empty where there is no source."""
    found: dict[str, str] = {}
    for owner in reversed(schema.__mro__[:-1]):
        try:
            source = inspect.getsource(owner)
        except (OSError, TypeError):
            continue
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            name = token.line.partition(":")[0].strip()
            if token.type == tokenize.COMMENT and name.isidentifier():
                found[name] = token.string.lstrip("# ")
    return found


def _read(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        return OmegaConf.create(text) if text.strip() else OmegaConf.create({})
    except (OSError, UnicodeDecodeError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{path}: cannot be read as YAML ({error})") from None


def _override(text: str) -> Any:
    try:
        return OmegaConf.from_dotlist([text])
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise ConfigError(f"{text}: the value is not YAML ({error})") from None


def _merge(schema: type, base: Any, change: Any, where: str) -> Any:
    if not isinstance(change, DictConfig):
        raise ConfigError(f"{where}: a mapping of fields to values was expected")
    try:
        return OmegaConf.merge(base, change)
    except OmegaConfBaseException as error:
        _fail(schema, where, error)


def _fail(schema: type, where: str, error: OmegaConfBaseException) -> NoReturn:
    key, reason = error.full_key or "", str(error.msg or error).splitlines()[0]
    known = _names(schema())
    if key and key not in known and not any(key.startswith(name + ".") for name in known):
        near = difflib.get_close_matches(key, known, 3, 0.5)
        last = key.rpartition(".")[2]
        near += [name for name in known if name.rpartition(".")[2] == last and name not in near]
        hint = f"near names: {', '.join(near)}" if near else "--help lists all fields"
        raise ConfigError(f"{where}: there is no field {key!r}; {hint}") from None
    if variable := re.search(r"Environment variable '(\w+)' not found", reason):
        reason = f"the environment variable {variable[1]} is not set"
    raise ConfigError(f"{where}: field {key!r}: {reason}" if key else f"{where}: {reason}") from None


def _names(config: Any, prefix: str = "") -> list[str]:
    """Dotted names of all fields that hold values."""
    names: list[str] = []
    for field in fields(config):
        value = getattr(config, field.name)
        names += _names(value, f"{prefix}{field.name}.") if is_dataclass(value) else [prefix + field.name]
    return names


def _unlock(node: Any) -> None:
    """Let fields of frozen dataclasses be overridden: their objects are made only after merging."""
    OmegaConf.set_readonly(node, None)
    children = node.keys() if isinstance(node, DictConfig) else range(len(node))
    for key in children:
        child = node._get_node(key)
        if isinstance(child, DictConfig | ListConfig) and not child._is_none() and not child._is_missing():
            _unlock(child)
