"""Help text about a configuration: its fields, their values, and the comments on their lines."""

from __future__ import annotations

import inspect
import io
import tokenize
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import yaml


def describe(config: Any, prefix: str = "") -> Iterator[str]:
    """Help text, line by line: every field with its value and its comment, nested dataclasses last."""
    comments = _comments(type(config))
    nested: list[tuple[str, Any]] = []
    for field in fields(config):
        value = getattr(config, field.name)
        if is_dataclass(value):
            nested.append((f"{prefix}{field.name}", value))
        else:
            yield f"  {f'{prefix}{field.name}={inline(value)}':<44} {comments.get(field.name, '')}".rstrip()
    for name, inner in nested:
        yield ""
        yield f"{name}: {(inspect.getdoc(inner) or '').partition('Raises ')[0].strip()}"
        yield from describe(inner, f"{name}.")


def inline(value: Any) -> str:
    """The value as written after key=: text without quotes, everything else as one line of YAML."""
    plain = _plain(value)
    if isinstance(plain, str):
        return plain
    shown = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000)
    return shown.removesuffix("\n").removesuffix("\n...")


def _plain(value: Any) -> Any:
    """The value made of plain types: enums as their values, dataclasses as mappings without None, or as they print."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if "__str__" in vars(type(value)) and is_dataclass(value):
        return str(value)
    if is_dataclass(value):
        return {name: _plain(each) for name, each in vars(value).items() if each is not None}
    return value


def _comments(schema: type) -> dict[str, str]:
    """field -> the comment on its line, base classes included; empty if the source code is not available."""
    comments: dict[str, str] = {}
    for owner in reversed(schema.__mro__[:-1]):
        try:
            source = inspect.getsource(owner)
        except (OSError, TypeError):
            continue
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            name = token.line.partition(":")[0].strip()
            if token.type == tokenize.COMMENT and name.isidentifier():
                comments[name] = token.string.lstrip("# ")
    return comments
