"""Configurations: dataclass defaults, changed by YAML files, then by key=value; checked against the dataclass.

    config = parse(RecipeConfig, sys.argv[1:])
    python -m zoo.recipes.hubert.train --config base train.steps=1000 data.batch_seconds=90

A field is documented by the comment on its line:

    steps: int = 2000  # optimizer steps

Use Enum, not Literal, and lists of dataclasses, not of tuples: OmegaConf does not support the others.
"""

from __future__ import annotations

import difflib
import functools
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from zoo.config_help import describe, inline
from zoo.errors import ConfigError

C = TypeVar("C")
PARSER = "parser"  # metadata of a field, a list of dataclasses: the function that reads their short form, a text
_LIST_ITEM = re.compile(r"\[\d+\]|\.\d+(\.|$)")

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
    """The configuration from command line arguments; --help and --print-config print and raise SystemExit(0).

    schema: a dataclass; all its fields need defaults. argv: the arguments without the program; None = sys.argv[1:].
    presets: folder of YAML files that --config finds by name.

    Raises ConfigError as `load`, and for an unknown argument.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    files: list[str] = []
    overrides: list[str] = []
    show = False
    while arguments:
        argument = arguments.pop(0)
        if argument in ("--help", "-h"):
            names = ", ".join(preset_names(presets))
            print(
                _USAGE.format(program=program, presets=f": {names}" if names else "")
                + "\n"
                + "\n".join(describe(schema()))
            )
            raise SystemExit(0)
        if argument == "--config" and arguments:
            files.append(arguments.pop(0))
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
    """Names of the presets in a folder."""
    return sorted(path.stem for path in presets.glob("*.yaml")) if presets else []


def find_preset(name: str, presets: Path | None) -> Path:
    """The file for `--config name`: a file with that path, else the preset of that name.

    Raises ConfigError, listing the presets, if there is neither.
    """
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return path
    if name in preset_names(presets):
        return cast(Path, presets) / f"{name}.yaml"
    names = ", ".join(preset_names(presets)) or "none"
    raise ConfigError(f"--config {name}: no such file or preset; give a YAML file, or one of the presets: {names}")


def load(schema: type[C], files: Sequence[str | Path] = (), overrides: Sequence[str] = ()) -> C:
    """The defaults of `schema`, changed by YAML files and then by "key=value" (dotted keys, YAML values).

    Lists and mappings such as data.text={captions: 1} replace the value before; data.text.captions=1 changes one item.

    Raises ConfigError, naming file or override and field, for an unknown field (with similar names), a value of the
    wrong type and a file that cannot be read. Errors from __post_init__ of the dataclasses pass through.
    """
    merged = OmegaConf.structured(schema)
    _unlock(merged)
    mappings = [name for name in _names(schema()) if OmegaConf.is_dict(OmegaConf.select(merged, name))]
    for file in files:
        merged = _merge(schema, merged, _read(Path(file)), str(file), mappings)
    for override in overrides:
        if _LIST_ITEM.search(override.partition("=")[0]):
            _update_item(schema, merged, override)
        else:
            whole = [name for name in mappings if name == override.partition("=")[0]]
            merged = _merge(schema, merged, _override(override), override, whole)
    try:
        return cast(C, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        _fail(schema, "configuration", error)


def to_yaml(config: Any) -> str:
    """A configuration as YAML; `load` reads it."""
    return OmegaConf.to_yaml(OmegaConf.structured(config))


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


def _update_item(schema: type, config: Any, override: str) -> None:
    """Apply an override of one item of a list, such as rounds[0].units=[20], in place."""
    key, _, text = override.partition("=")
    try:
        value = cast(DictConfig, OmegaConf.create(f"value: {text}"))["value"]
        OmegaConf.update(config, key, value)
    except (IndexError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"{override}: field {key!r} cannot be set ({error}); give the whole list") from None
    except OmegaConfBaseException as error:
        _fail(schema, override, error)


def _merge(schema: type, base: Any, change: Any, where: str, mappings: Sequence[str]) -> Any:
    """`base` with the change. mappings: fields that the change replaces, if it has them."""
    if not isinstance(change, DictConfig):
        raise ConfigError(f"{where}: expected a mapping of fields to values")
    try:
        change = OmegaConf.create(_expand(schema, OmegaConf.to_container(change, resolve=False)))
        for name in mappings:
            if OmegaConf.is_dict(OmegaConf.select(change, name)):
                OmegaConf.update(base, name, {}, merge=False)
        return OmegaConf.merge(base, change)
    except OmegaConfBaseException as error:
        _fail(schema, where, error, change)
    except TypeError:  # containers of two kinds
        names = ", ".join(str(key) for key in change)
        raise ConfigError(f"{where}: in {names}: a mapping stands where a list is needed, or the reverse") from None


def _expand(schema: Any, content: Any) -> Any:
    """Plain content in which fields with a parser have what their text stands for, in nested dataclasses too."""
    if isinstance(content, dict) and get_origin(schema) is dict:
        return {key: _expand(get_args(schema)[1], value) for key, value in content.items()}
    if isinstance(content, list) and get_origin(schema) is list:
        return [_expand(get_args(schema)[0], value) for value in content]
    if not isinstance(content, dict) or not is_dataclass(schema):
        return content
    hints = get_type_hints(schema)
    expanded = {name: _expand(hints.get(name), value) for name, value in content.items()}
    for field in fields(schema):
        if PARSER in field.metadata and field.name in content:
            value = content[field.name]
            items = value if isinstance(value, list) else [value]
            parsed = [field.metadata[PARSER](item) if isinstance(item, str) else [item] for item in items]
            expanded[field.name] = [
                each if isinstance(each, dict) else asdict(each) for part in parsed for each in part
            ]
    return expanded


def _wrong_item(change: Any, owner: type) -> str:
    """Where the first item of a list is that does not fit the dataclass `owner`, such as tasks[1]."""
    for key, items in change.items():
        for index, item in enumerate(items if isinstance(items, ListConfig) else ()):
            try:
                OmegaConf.merge(OmegaConf.structured(owner), item)
            except (OmegaConfBaseException, TypeError, ValueError):
                return f"{key}[{index}]"
    return owner.__name__


def _fail(schema: type, where: str, error: OmegaConfBaseException, change: Any = None) -> NoReturn:
    key, reason = error.full_key or "", str(error.msg or error).splitlines()[0]
    names = _names(schema())
    owner = error.object_type
    if "." not in key and is_dataclass(owner) and owner is not schema:  # an item of a list, which has no full key
        names = [field.name for field in fields(owner)]
        where = f"{where}: in {_wrong_item(change or {}, owner)}"
    is_list_item = key.endswith("]") and key.rpartition("[")[0] in names
    known = is_list_item or key in names or any(key.startswith(name + ".") for name in names)
    if key and not known:
        similar = difflib.get_close_matches(key, names, 3, 0.5)
        last = key.rpartition(".")[2]
        similar += [name for name in names if name.rpartition(".")[2] == last and name not in similar]
        hint = f"similar names: {', '.join(similar)}" if similar else "--help lists all fields"
        raise ConfigError(f"{where}: there is no field {key!r}; {hint}") from None
    if reason.startswith("Cannot assign") and "Dict[" in reason:
        example = functools.reduce(getattr, key.split("."), schema()) or {"name": "value"}
        reason = f"a mapping is needed, such as '{key}={inline(example)}'"
    reason = reason.replace("AnyNode is not a ListConfig, TupleConfig, list, or tuple", "a list is needed")
    if not key and "is not a subclass of" in reason:
        raise ConfigError(f"{where}: {_group_hint(schema, where)}") from None
    reason = re.sub(
        r"^Invalid type assigned: (\w+) is not a subclass of \w+\.", "a mapping of fields is needed,", reason
    )
    if variable := re.search(r"Environment variable '(\w+)' not found", reason):
        content = " (its content: docs/corpora.md)" if variable[1] == "ZOO_DATA" else ""
        reason = f"the environment variable {variable[1]} is not set; set it to the folder of your data{content}"
    raise ConfigError(f"{where}: field {key!r}: {reason}" if key else f"{where}: {reason}") from None


def _group_hint(schema: type, where: str) -> str:
    """What to write instead of one value for a group of fields, such as model=hubert-large."""
    group = where.partition("=")[0]
    inside = [name for name in _names(schema()) if name.startswith(f"{group}.")]
    example = f", as in {inside[0]}=..." if inside else ""
    return f"a mapping of fields is needed, not a value: set them one by one{example}, or choose a preset by --config"


def _names(config: Any, prefix: str = "") -> list[str]:
    """Dotted names of all fields, except those that hold a dataclass."""
    names: list[str] = []
    for field in fields(config):
        value = getattr(config, field.name)
        names += _names(value, f"{prefix}{field.name}.") if is_dataclass(value) else [prefix + field.name]
    return names


def _unlock(node: Any) -> None:
    """Make fields of frozen dataclasses writable while files and overrides are merged."""
    OmegaConf.set_readonly(node, None)
    children = node.keys() if isinstance(node, DictConfig) else range(len(node))
    for key in children:
        child = node._get_node(key)
        if isinstance(child, DictConfig | ListConfig) and not child._is_none() and not child._is_missing():
            _unlock(child)
